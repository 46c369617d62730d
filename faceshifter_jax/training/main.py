"""The command line of `train.py`: flags in, exit code out."""

import difflib
import functools
import logging
import os
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from faceshifter_jax.errors import UserError

USAGE = """usage: python train.py --config CONFIG --workdir DIR [--config.KEY=VALUE ...]

  --config   a config file such as configs/aei.py, or a variant of it, configs/aei.py:demo
  --workdir  where checkpoints, samples and logs go; a training that is there is continued
  --config.KEY=VALUE  changes one setting, such as --config.batch_size=8
"""

_STOPPED_AT_ONCE = "stopped at once, without saving"
_BAD_INPUT, _INTERRUPTED = 2, 130


def main(argv: Sequence[str], **factories: Callable) -> int:
    """Trains as the command line says.

    Args:
      argv: the program's name and its arguments.
      **factories: `build_task` and `build_loader` for `loop.train`, to train something else.

    Returns:
      0 after the last step, 2 for bad input, 130 or 143 when a signal ended the training.
    """
    if {"--help", "-h"} & set(argv[1:]):
        print(USAGE, end="")
        return 0
    try:
        config, workdir = parse_arguments(argv)
        _silence_libraries()
        return _train(config, workdir, factories)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return _BAD_INPUT
    except KeyboardInterrupt:
        print(_STOPPED_AT_ONCE, file=sys.stderr)
        return _INTERRUPTED


def parse_arguments(argv: Sequence[str]) -> tuple[ConfigDict, str]:
    """Reads the config file, changes it as the flags say, and returns it with the workdir.

    Raises:
      UserError: a missing file or flag, an unknown key, a value of another type.
    """
    spec, rest = _take_config_flag(argv)
    config = load_config(spec)
    _check_keys(rest, config)
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Directory of the training.", flag_values=values)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
        unparsed = values(rest)[1:]
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(" ".join(str(error).split())) from error
    if unparsed:
        raise UserError(f"unexpected argument {unparsed[0]!r}: write --config.KEY=VALUE")
    if not values.workdir:
        raise UserError("--workdir is missing: name a directory for checkpoints and logs")
    return values.config, values.workdir


def load_config(spec: str) -> ConfigDict:
    """Returns what `get_config` of a config file gives.

    Args:
      spec: path of the file, or path:variant.

    Raises:
      UserError: no such file or variant.
    """
    path, _, variant = spec.partition(":")
    if not Path(path).is_file():
        raise UserError(f"no config file {path}: name one such as configs/aei.py")
    get_config = runpy.run_path(path).get("get_config")
    if get_config is None:
        raise UserError(f"{path} is not a config file: it defines no function get_config")
    try:
        return get_config(variant).lock()
    except ValueError as error:
        raise UserError(str(error)) from error


def _take_config_flag(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Splits the arguments into the value of --config and all others."""
    rest = list(argv)
    for index, argument in enumerate(rest[1:], start=1):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            if equals:
                return value, rest[:index] + rest[index + 1 :]
            if index + 1 < len(rest):
                return rest[index + 1], rest[:index] + rest[index + 2 :]
    raise UserError("--config is missing: name a config file such as configs/aei.py")


def _check_keys(arguments: Sequence[str], config: ConfigDict) -> None:
    """Raises UserError for an override of a key that the config does not have."""
    for argument in arguments:
        match = re.match(r"--?(?:no)?config\.([^=]+)", argument)
        if match is None:
            continue
        node = config
        for part in match[1].split("."):
            keys = list(node) if isinstance(node, ConfigDict) else []
            if part not in keys:
                near = difflib.get_close_matches(part, keys, n=1)
                parent = match[1].rpartition(part)[0]
                hint = f" (did you mean {parent + near[0]!r}?)" if near else ""
                raise UserError(f"unknown config key {match[1]!r}{hint}")
            node = node[part]


def _train(config: ConfigDict, workdir: str, factories: Mapping[str, Callable]) -> int:
    # Imported late: a mistake on the command line is reported without waiting for jax.
    from faceshifter_jax.training import distributed
    from faceshifter_jax.training.interrupt import Interrupted, leave
    from faceshifter_jax.training.loop import train
    from faceshifter_jax.training.memory import OutOfMemory

    try:
        train(config, workdir, **factories)
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        return interruption.exit_code
    # At a usual exit jax would wait for the processes that never came, are gone, or wait for this
    # one. Other UserErrors are raised in all of them.
    except (distributed.NotConnected, distributed.LostProcess, OutOfMemory) as error:
        leave(f"error: {error}", _BAD_INPUT)
    except UserError:
        raise
    except KeyboardInterrupt:
        if not distributed.is_connected():
            raise
        leave(_STOPPED_AT_ONCE, _INTERRUPTED)
    except Exception:
        if not distributed.is_connected():
            raise
        leave(traceback.format_exc().rstrip(), 1)
    return 0


def _silence_libraries() -> None:
    """Turns off what TensorFlow prints when it is imported; its warnings and errors stay.

    TensorFlow computes nothing here, so its oneDNN kernels, which it announces, are off too.
    Orbax logs the stack of every error that it also raises, and which ends in one line here. What
    its other threads are still writing then ends on an event loop that is closed already.
    """
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
    sys.unraisablehook = functools.partial(_drop_closed_loop, sys.unraisablehook)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def _drop_closed_loop(show: Callable, unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        show(unraisable)
