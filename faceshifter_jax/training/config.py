"""The settings of a training: from a config file and flags, checked."""

import difflib
import re
import runpy
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from faceshifter_jax.errors import UserError

_NEEDED = ("task", "parallel", "data", "init_from", "distributed", "compilation_cache")
_AT_LEAST_ONE = ("num_steps", "batch_size", "log_every_steps", "keep_checkpoints", "image_size")
_AT_LEAST_ZERO = ("seed", "save_every_steps", "sample_every_steps", "keep_every_steps")
# Name of a setting, in whatever section -> whether its value can work, and what it must be.
_RANGES = {
    **dict.fromkeys(_AT_LEAST_ONE, (lambda value: value >= 1, "at least 1")),
    **dict.fromkeys((*_AT_LEAST_ZERO, "warmup_steps"), (lambda value: value >= 0, "at least 0")),
    "learning_rate": (lambda value: value > 0, "above 0"),
    "ema_decay": (lambda value: 0 <= value < 1, "at least 0 and less than 1"),
}


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


def check_config(config: ConfigDict) -> None:
    """Checks the settings that the loop itself uses, and rates and steps of the optimisers.

    Raises:
      UserError: one is missing or out of range.
    """
    for key in (*_NEEDED, *_AT_LEAST_ONE, *_AT_LEAST_ZERO):
        if key not in config:
            raise UserError(f"the config lacks the key {key!r}")
    # Imported late: a mistake on the command line is reported without waiting for jax.
    from flax import traverse_util

    for key, value in traverse_util.flatten_dict(config.to_dict(), sep=".").items():
        is_possible, what = _RANGES.get(key.rpartition(".")[2], (None, ""))
        if is_possible and not is_possible(value):
            raise UserError(f"config.{key} is {value}: it must be {what}")
