"""The command line of `train.py`: flags in, exit code out."""

import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.logs import give_up_stdout, shown_on_stderr
from faceshifter_jax.messages import printable
from faceshifter_jax.runtime.signals import raise_stop
from faceshifter_jax.training.config import Config, describe_settings, parse_arguments
from faceshifter_jax.training.flags import take_log_level

USAGE = """usage: python train.py --config CONFIG --workdir DIR [--config.KEY=VALUE ...]

  --config   a config file such as configs/aei.py, or a variant of it, configs/aei.py:demo
  --workdir  directory for checkpoints, samples and logs; a run found there is continued
  --config.KEY=VALUE  changes one setting, such as --config.batch_size=8
  --log-level debug, info, warning or error: what is shown on stderr (default: info)
  --help     this; with --config CONFIG also all of its settings
"""

_STOPPED_AT_ONCE = "stopped at once, without saving"
_BAD_INPUT, _INTERRUPTED, _CLOSED_PIPE = 2, 130, 141


def main(argv: Sequence[str], **factories: Callable) -> int:
    """Trains what the command line describes.

    Args:
      argv: the program's name and its arguments.
      **factories: `build_task` and `build_loader` for `loop.train`, to train a different task or on
      different data.

    Returns:
      0 after the last step, 2 for bad input, 130 or 143 when a signal ended the training run.
    """
    try:
        return _run(argv, factories)
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return _BAD_INPUT
    except KeyboardInterrupt:
        print(_STOPPED_AT_ONCE, file=sys.stderr)
        return _INTERRUPTED


def _run(argv: Sequence[str], factories: Mapping[str, Callable]) -> int:
    try:
        if {"--help", "-h"} & set(argv[1:]):
            asked = [word for word in argv if word not in ("--help", "-h")]
            print(USAGE + describe_settings(asked), end="", flush=True)
            return 0
        level, argv = take_log_level(argv)
        config, workdir = parse_arguments(argv)
        _silence_libraries()
        with shown_on_stderr(level):
            return _train(config, workdir, factories)
    except BrokenPipeError:
        give_up_stdout()
        return _CLOSED_PIPE
    except ImportError as error:
        raise_stop(error)


def _train(config: Config, workdir: str, factories: Mapping[str, Callable]) -> int:
    # Imported late: a mistake on the command line is reported without waiting for jax.
    from faceshifter_jax.runtime import distributed
    from faceshifter_jax.runtime.faults import OutOfMemory, in_one_line
    from faceshifter_jax.runtime.signals import Interrupted, leave
    from faceshifter_jax.training.train import train

    try:
        train(config, workdir, **factories)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        return interruption.exit_code
    # At a normal exit jax would wait for processes that never connected, are gone, or wait for this
    # one. Other UserErrors are raised in all processes.
    except (distributed.NotConnected, distributed.LostProcess, OutOfMemory) as error:
        leave(f"error: {error}", _BAD_INPUT)
    except UserError:
        raise
    except KeyboardInterrupt:
        if not distributed.is_connected():
            raise
        leave(_STOPPED_AT_ONCE, _INTERRUPTED)
    except Exception as error:
        if not distributed.is_connected():
            if isinstance(error, OSError):
                raise in_one_line(error) from error
            raise
        leave(traceback.format_exc().rstrip(), 1)
    return 0


def _silence_libraries() -> None:
    """Silences what TensorFlow prints on import; its warnings and errors stay.

    TensorFlow computes nothing here, so its oneDNN kernels, which it announces, are off too. Orbax
    logs the stack of every error that it also raises, and that is reported here in one line. Its
    threads that are still writing then find their event loop closed.
    """
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
    sys.unraisablehook = functools.partial(_drop_closed_loop, sys.unraisablehook)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def _drop_closed_loop(show: Callable, unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        show(unraisable)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
