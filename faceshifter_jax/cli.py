"""The console command `faceshifter`: a table of sub-commands, each loaded when it is called."""

import argparse
import contextlib
import difflib
import gc
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from faceshifter_jax import __version__
from faceshifter_jax.errors import UserError
from faceshifter_jax.messages import printable
from faceshifter_jax.runtime.signals import TERMINATED, stop_on_signals

COMMANDS = {
    "prepare": (
        "faceshifter_jax.data.preparation.prepare_command",
        "make a dataset of a folder of photos",
    ),
    "render": (
        "faceshifter_jax.data.preparation.render_command",
        "make a dataset of embedded faces",
    ),
    "convert": (
        "faceshifter_jax.convert.convert_command",
        "turn published weights into a network file",
    ),
    "evaluate": ("faceshifter_jax.evaluation.evaluate_command", "score a trained checkpoint"),
    "mine": (
        "faceshifter_jax.evaluation.mine_command",
        "list the pictures that an AEI-Net loses most of",
    ),
    "swap": ("faceshifter_jax.swapping.swap_command", "put the face of one photo into another"),
    "export": (
        "faceshifter_jax.swapping.export_command",
        "write a trained swap as a program that needs nothing of this project",
    ),
    "inspect": (
        "faceshifter_jax.media.provenance.inspect_command",
        "read what a picture says about where it comes from",
    ),
    "compare": (
        "faceshifter_jax.evaluation.compare_command",
        "compare evaluations, or measure how similar faces in photos are to an identity network",
    ),
    "tpu-check": (
        "faceshifter_jax.devices.tpu_check_command",
        "compile a training step for TPUs and report its cost, without a TPU",
    ),
}
"""Name -> (module with `add_arguments(parser)` and `run(arguments)`, what it is for).

`run` may return an exit code. Where `add_arguments` declares a default for `config_flags`, that
receives the arguments that the parser does not know.
"""

_BAD_INPUT = 2
_INTERRUPTED = 130
_CLOSED_PIPE = 141


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
        arguments = _parse(list(sys.argv[1:] if argv is None else argv))
        with stop_on_signals():
            code = importlib.import_module(COMMANDS[arguments.command][0]).run(arguments)
        sys.stdout.flush()
    except UserError as error:
        _print_error(str(error))
        return _BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code, stopped = _INTERRUPTED, True
    except SystemExit as error:
        if argv is not None or error.code != TERMINATED:
            raise
        code, stopped = TERMINATED, True
    except BrokenPipeError:
        _give_up_stdout()
        _print_error("the reader of the output is gone: what was not printed is lost")
        return _CLOSED_PIPE
    except Exception as error:
        if (line := _of_the_system(error)) is None:
            raise
        try:
            sys.stdout.flush()
        except OSError:
            _give_up_stdout()
        _print_error(line)
        return _BAD_INPUT
    # Not in the clauses above: there the exception still holds what the command had open.
    if stopped and argv is None:
        _end_at_once(code)
    return code or 0


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


def _give_up_stdout() -> None:
    """Discards what is still in the buffer, which would fail again at the process's end."""
    # In tests it may be no file.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    parser = _Parser(prog="faceshifter", description="FaceShifter in JAX.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, purpose) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=purpose, description=purpose)
        # Only the command that is called is loaded: `faceshifter --help` must not wait for all.
        if name in argv[:1]:
            importlib.import_module(module).add_arguments(subparser)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown and "config_flags" not in arguments:
        subparsers.choices[arguments.command].refuse(unknown)
    if unknown:
        arguments.config_flags = unknown
    return arguments


if __name__ == "__main__":
    sys.exit(main())
