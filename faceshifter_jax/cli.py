"""The console command `faceshifter`: a table of sub-commands, each loaded when it is called."""

import argparse
import contextlib
import importlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from faceshifter_jax import __version__
from faceshifter_jax.errors import UserError

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
    "inspect": (
        "faceshifter_jax.media.provenance.inspect_command",
        "read what a picture says about where it comes from",
    ),
    "compare": (
        "faceshifter_jax.evaluation.compare_command",
        "lay evaluations side by side, or say how alike faces in photos are to an identity network",
    ),
    "tpu-check": (
        "faceshifter_jax.devices.tpu_check_command",
        "compile a training step for TPUs and say what it costs them, without a TPU",
    ),
}
"""Name -> (module with `add_arguments(parser)` and `run(arguments)`, what it is for).

`run` may return an exit code. Where `add_arguments` declares a default for `config_flags`, that
receives the arguments that the parser does not know.
"""

_BAD_INPUT = 2
_INTERRUPTED = 130
_TERMINATED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a sub-command; returns its exit code, 2 for bad input, 130 after Ctrl-C.

    Args:
        argv: the arguments without the program's name; None takes those of the process.

    Raises:
        SystemExit: by argparse, after --help or for arguments it cannot make sense of; with 143
            after SIGTERM.
    """
    arguments = _parse(list(sys.argv[1:] if argv is None else argv))
    try:
        with _tidy_termination():
            code = importlib.import_module(COMMANDS[arguments.command][0]).run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return _BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    return code or 0


@contextlib.contextmanager
def _tidy_termination() -> Iterator[None]:
    """Turns SIGTERM into SystemExit, so that half-written files go; leaves a caller's handler."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(*_: object) -> None:
        # `timeout` sends two: the second must not end what the first began.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(_TERMINATED)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faceshifter", description="FaceShifter in JAX.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, purpose) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=purpose, description=purpose)
        # Only the command that is called is loaded: `faceshifter --help` must not wait for all.
        if name in argv[:1]:
            importlib.import_module(module).add_arguments(subparser)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown and "config_flags" not in arguments:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if unknown:
        arguments.config_flags = unknown
    return arguments


if __name__ == "__main__":
    sys.exit(main())
