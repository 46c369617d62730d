"""The console command `faceshifter`: a table of sub-commands, each loaded when it is called."""

import argparse
import contextlib
import difflib
import gc
import importlib
import io
import logging
import os
import re
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from faceshifter_jax import __version__
from faceshifter_jax.errors import UserError
from faceshifter_jax.logs import DEFAULT_LEVEL, LEVELS, give_up_stdout, shown_on_stderr
from faceshifter_jax.messages import printable
from faceshifter_jax.runtime.signals import TERMINATED, raise_stop, stop_on_signals

COMMANDS = {
    "train": ("faceshifter_jax.training.train_command", "train a network"),
    "prepare": (
        "faceshifter_jax.data.preparation.prepare_command",
        "make a dataset of a folder of photos",
    ),
    "render": (
        "faceshifter_jax.data.preparation.render_command",
        "make a dataset of embedded faces",
    ),
    "convert": (
        "faceshifter_jax.convert.convert_arguments",
        "turn published weights into a network file",
    ),
    "evaluate": ("faceshifter_jax.evaluation.evaluate_arguments", "score a trained checkpoint"),
    "mine": (
        "faceshifter_jax.evaluation.mine_arguments",
        "list the pictures that an AEI-Net loses most of",
    ),
    "swap": ("faceshifter_jax.swapping.swap_arguments", "put the face of one photo into another"),
    "ui": ("faceshifter_jax.swapping.ui_command", "swap faces on a page in the browser"),
    "export": (
        "faceshifter_jax.swapping.export_command",
        "write a trained swap as a program that needs nothing of this project",
    ),
    "inspect": (
        "faceshifter_jax.media.provenance.inspect_command",
        "read what a picture says about where it comes from",
    ),
    "compare": (
        "faceshifter_jax.evaluation.compare_arguments",
        "compare evaluations, or measure how similar faces in photos are to an identity network",
    ),
    "device-check": (
        "faceshifter_jax.devices.device_check_command",
        "tell what a training step needs of a GPU or TPU that is not here, and whether it fits",
    ),
    "tpu-check": (
        "faceshifter_jax.devices.tpu_check_command",
        "device-check for TPUs, under its older name",
    ),
}
"""Name -> (module with `add_arguments(parser)`, `run(arguments)`, `EXAMPLES`; what it is for).

The module imports neither numpy nor jax before it runs: --help and completion must not wait.
`run` may return an exit code. `EXAMPLES` are command lines for the end of its help. Where
`add_arguments` declares a default for `config_flags`, that receives the arguments that the parser
does not know.
"""

_BAD_INPUT = 2
_INTERRUPTED = 130
_CLOSED_PIPE = 141
_NO_READER = "the reader of the output is gone: what was not printed is lost"
_logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a sub-command; returns its exit code, 2 for bad input, 130 after Ctrl-C.

    Args:
        argv: the arguments without the program's name; None takes those of the process.

    Raises:
        SystemExit: by argparse, after --help or for arguments it cannot make sense of; with 143
            after SIGTERM.
    """
    _print_whatever_comes()
    stopped = False
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code, stopped = _INTERRUPTED, True
    except SystemExit as error:
        if not _flush():
            return _CLOSED_PIPE
        if argv is not None or error.code != TERMINATED:
            raise
        code, stopped = TERMINATED, True
    # Not in the clauses above: there the exception still holds what the command had open.
    if stopped and argv is None:
        _end_at_once(code)
    return code


def _run(argv: list[str]) -> int:
    """Runs a command; a fault of the input or of the system is one line."""
    try:
        arguments = _parse(argv)
        with shown_on_stderr(arguments.log_level), stop_on_signals():
            code = _run_command(arguments)
        sys.stdout.flush()
    except UserError as error:
        _print_error(str(error))
        return _BAD_INPUT
    except BrokenPipeError:
        give_up_stdout()
        _print_error(_NO_READER)
        return _CLOSED_PIPE
    except ImportError as error:
        raise_stop(error)
    except Exception as error:
        if (line := _of_the_system(error)) is None:
            raise
        _flush()
        _print_error(line)
        return _BAD_INPUT
    return code or 0


def _run_command(arguments: argparse.Namespace) -> int | None:
    try:
        return importlib.import_module(COMMANDS[arguments.command][0]).run(arguments)
    except Exception:
        _logger.debug("where the error was found:", exc_info=True)
        raise


def _flush() -> bool:
    """Writes what was printed; whether somebody reads it."""
    try:
        sys.stdout.flush()
    except OSError:
        give_up_stdout()
        return False
    return True


def _print_whatever_comes() -> None:
    """Makes names printable for which the terminal's encoding has no letters."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _print_error(message: str) -> None:
    print(f"error: {printable(message)}", file=sys.stderr)


def _of_the_system(error: Exception) -> str | None:
    """Returns a line for faults of a disk, a file or the memory; None for bugs of this program."""
    # Not at the top: --help needs none of it.
    from faceshifter_jax.runtime.faults import explain_write_error, in_one_line, is_no_room

    if isinstance(error, OSError):
        return str(in_one_line(error))
    if isinstance(error, MemoryError):
        return "the memory does not suffice: make the pictures smaller, or use fewer workers"
    # Libraries in C++ raise exceptions of their own where a disk is full.
    return explain_write_error(error) if is_no_room(error) else None


def _end_at_once(code: int) -> NoReturn:
    """Ends the process of a command that was stopped, after all of its `finally` clauses.

    Worker processes end with the generators that started them, some of which are in cycles. Threads
    of TensorFlow, XLA and FFmpeg may be in the middle of something: during Python's shutdown around
    them, the process crashed in 2 of 5 videos that were stopped.
    """
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class _Parser(argparse.ArgumentParser):
    """Adds to a refusal what may have been meant."""

    def error(self, message: str) -> NoReturn:
        wrong = re.match(r"argument COMMAND: invalid choice: '([^']*)'", message)
        if wrong and (near := difflib.get_close_matches(wrong[1], COMMANDS, n=1)):
            message += f"; did you mean {near[0]!r}?"
        super().error(message)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Ends with a line for arguments that the parser does not know."""
        flags = [flag for action in self._actions for flag in action.option_strings]
        meant = [
            near[0]
            for word in unknown
            if (near := difflib.get_close_matches(word.partition("=")[0], flags, n=1))
        ]
        hint = f"; did you mean {' '.join(meant)}?" if meant else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _parse(argv: list[str]) -> argparse.Namespace:
    # Only the command that is called is loaded; for completion all are.
    parser, subparsers = _build_parser([name for name in COMMANDS if name in argv[:1]])
    arguments, unknown = parser.parse_known_args(argv)
    if unknown and "config_flags" not in arguments:
        subparsers.choices[arguments.command].refuse(unknown)
    if unknown:
        arguments.config_flags = unknown
    return arguments


def _build_parser(loaded: Collection[str]) -> tuple[_Parser, Any]:
    """Returns the parser, and its sub-parsers, of which those in `loaded` know their arguments."""
    parser = _Parser(prog="faceshifter", description="FaceShifter in JAX.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print a script that completes commands and options in that shell, and exit",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, purpose) in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=purpose, description=purpose, formatter_class=_Help
        )
        if name in loaded:
            command = importlib.import_module(module)
            command.add_arguments(subparser)
            subparser.add_argument(
                "--log-level",
                choices=LEVELS,
                default=DEFAULT_LEVEL,
                help="what is shown on stderr: progress and notes (info), warnings, or errors "
                "alone; debug: also what libraries log, and where in the code an error was found",
            )
            _add_examples(subparser, getattr(command, "EXAMPLES", ()))
    return parser, subparsers


def _add_examples(parser: argparse.ArgumentParser, examples: Sequence[str]) -> None:
    if examples:
        lines = "\n".join(f"  {line}" for line in examples)
        parts = [textwrap.fill(parser.epilog, 78) if parser.epilog else "", f"examples:\n{lines}"]
        parser.epilog = "\n\n".join(filter(None, parts)).replace("%", "%%")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Says every default in the same words, and keeps the lines of examples."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        unspoken = action.default in (None, False, argparse.SUPPRESS)
        if unspoken or not action.option_strings or "(default: " in text:
            return text
        return f"{text} (default: %(default)s)"


class _PrintCompletion(argparse.Action):
    """Prints a script of the shell that is named, for all commands, and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *values: Any) -> NoReturn:
        # Not at the top: nothing else needs it.
        import shtab

        print(shtab.complete(_build_parser(COMMANDS)[0], values[1]))
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
