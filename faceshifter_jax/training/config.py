"""Reading and checking the settings of a training run from a config file and flags."""

import contextlib
import difflib
import math
import re
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from faceshifter_jax.errors import UserError
from faceshifter_jax.paths import local_path, local_paths
from faceshifter_jax.runtime.wandb_run import check_wandb
from faceshifter_jax.training.flags import find_config_file, list_settings, meant_setting

Config = Any
"""A ConfigDict, which knows its attributes only when it runs."""

_NUMBER = "a finite number below 2 to the 63rd"
_NEEDED = ("task", "parallel", "data", "init_from", "distributed", "compilation_cache")
_PATHS = ("path", "weights", "occluders", "subset", "compilation_cache")
_AT_LEAST_ONE = ("num_steps", "batch_size", "log_every_steps", "keep_checkpoints", "image_size")
_AT_LEAST_ZERO = ("save_every_steps", "sample_every_steps", "keep_every_steps")
# Name of a setting, in any section -> whether its value is valid, and what it must be.
_RANGES = {
    **dict.fromkeys(_AT_LEAST_ONE, (lambda value: value >= 1, "at least 1")),
    **dict.fromkeys(
        (*_AT_LEAST_ZERO, "warmup_steps", "profile_steps"), (lambda value: value >= 0, "at least 0")
    ),
    **dict.fromkeys(("b1", "b2"), (lambda value: 0 <= value < 1, "at least 0 and less than 1")),
    "seed": (lambda value: 0 <= value < 2**63, "at least 0 and less than 2 to the 63rd"),
    "num_steps": (lambda value: 1 <= value < 2**31, "at least 1 and less than 2 to the 31st"),
    "batch_size": (lambda value: 1 <= value <= 10**6, "at least 1 and at most a million"),
    "image_size": (lambda value: 1 <= value <= 4096, "at least 1 and at most 4096"),
    "learning_rate": (lambda value: value > 0, "above 0"),
    "weight_decay": (lambda value: value >= 0, "at least 0"),
    "ema_decay": (lambda value: 0 <= value < 1, "at least 0 and less than 1"),
}


def parse_arguments(argv: Sequence[str]) -> tuple[Config, str]:
    """Reads the config file, applies the flags, and returns the config with the workdir.

    Raises:
      UserError: a missing file or flag, an unknown key, a value of another type.
    """
    spec, rest = _take_config_flag(argv)
    config = load_config(spec)
    _check_keys(rest, config)
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Directory of the training run.", flag_values=values)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
        unparsed = values(rest)[1:]
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(" ".join(str(error).split())) from error
    if unparsed:
        raise UserError(f"unexpected argument {unparsed[0]!r}: write --config.KEY=VALUE")
    if not values.workdir:
        raise UserError("--workdir is missing: name a directory for checkpoints and logs")
    return values.config, local_path(values.workdir)


def load_config(spec: str) -> Config:
    """Returns the config that `get_config` of a config file makes.

    Args:
      spec: path of the file, or the name of one that comes with the package, as aei; with
        :variant after it or not.

    Raises:
      UserError: no such file or variant.
    """
    path, _, variant = local_path(spec).partition(":")
    path = find_config_file(path)
    with _fault_in_one_line(path), _neighbours_importable(path):
        get_config = runpy.run_path(path).get("get_config")
    if get_config is None:
        raise UserError(f"{path} is not a config file: it defines no function get_config")
    try:
        with _fault_in_one_line(path):
            config = get_config(variant)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: its get_config must return a ConfigDict, not {config!r:.100}")
    return config.lock()


@contextlib.contextmanager
def _neighbours_importable(path: str) -> Iterator[None]:
    """Lets configs/aei.py import configs.default from wherever it is run."""
    above = str(Path(path).resolve().parent.parent)
    sys.path.insert(0, above)
    try:
        yield
    finally:
        sys.path.remove(above)


@contextlib.contextmanager
def _fault_in_one_line(path: str) -> Iterator[None]:
    """Turns any error in the code of a config file into a UserError that names the line.

    The file's own ValueError, for example for an unknown variant, passes.
    """
    try:
        yield
    except (SyntaxError, UnicodeError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path}, line {line}" if line else path
        raise UserError(f"{place}: {getattr(error, 'msg', error)}") from error
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        if isinstance(error, ValueError) and lines:
            raise
        place = f"{path}, line {lines[-1]}" if lines else path
        raise UserError(f"{place}: {type(error).__name__}: {error}") from error


def _take_config_flag(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Separates the value of --config from all other arguments."""
    rest = list(argv)
    for index, argument in enumerate(rest[1:], start=1):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            if equals:
                return value, rest[:index] + rest[index + 1 :]
            if index + 1 < len(rest):
                return rest[index + 1], rest[:index] + rest[index + 2 :]
    raise UserError("--config is missing: name a config file such as configs/aei.py")


def _check_keys(arguments: Sequence[str], config: Config) -> None:
    """Raises UserError for an override of a key that the config does not have."""
    settings = [key for key, _ in list_settings(config)]
    for argument in arguments[1:]:
        if meant := meant_setting(argument, settings):
            raise UserError(f"unknown flag {argument!r}: settings are written {meant}")
        match = re.match(r"--?(?:no)?config\.([^=]+)", argument)
        if match is None:
            continue
        node: Any = config
        for part in match[1].split("."):
            keys = list(node) if isinstance(node, ConfigDict) else []
            if part not in keys:
                near = difflib.get_close_matches(part, keys, n=1)
                parent = match[1].rpartition(part)[0]
                hint = f" (did you mean {parent + near[0]!r}?)" if near else ""
                raise UserError(f"unknown config key {match[1]!r}{hint}")
            node = node[part]


def describe_settings(argv: Sequence[str]) -> str:
    """Returns a line for each setting of the config that `argv` names, or "" if it names none.

    Raises:
      UserError: there is no such config.
    """
    if not any(re.match(r"--?config(=|$)", argument) for argument in argv):
        return ""
    spec, _ = _take_config_flag(argv)
    lines = [f"  --config.{key}={value!r}\n" for key, value in list_settings(load_config(spec))]
    return f"\nsettings of {spec} and their values:\n{''.join(lines)}"


def check_config(config: Config) -> None:
    """Checks the settings that the loop itself uses, and rates and steps of the optimisers.

    Raises:
      UserError: one is missing or out of range, or needs a package that is not installed.
    """
    check_wandb(config.get("wandb", ""))
    for key in (*_NEEDED, *_AT_LEAST_ONE, *_AT_LEAST_ZERO, "seed"):
        if key not in config:
            raise UserError(f"the config lacks the key {key!r}")
    # Imported late: a mistake on the command line is reported without waiting for jax.
    from flax import traverse_util

    for key, value in traverse_util.flatten_dict(config.to_dict(), sep=".").items():
        is_possible, what = _RANGES.get(key.rpartition(".")[2], (_is_number, _NUMBER))
        if not (_is_number(value) and is_possible(value)):
            raise UserError(f"config.{key} is {value}: it must be {what}")


def _is_number(value: Any) -> bool:
    """Whether a value fits the compiled step's numbers, or is not a number."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 2**63


def make_paths_local(config: Config) -> None:
    """Expands `~` in all path settings of a config.

    Raises:
      UserError: one is a URL such as gs://bucket/data.
    """
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            make_paths_local(value)
        elif isinstance(value, str) and name in _PATHS:
            config[name] = local_path(value)
        elif isinstance(value, str) and name == "init_from":
            config[name] = local_paths(value)


def fill_num_classes(config: Config) -> None:
    """Sets `config.model.num_classes` from the dataset, if a config has it and it is 0.

    Raises:
      UserError: there is no prepared dataset at `config.data.path`, or its number of identities is
        not the config's.
    """
    num_classes = config.get("model", {}).get("num_classes")
    if num_classes is None:
        return
    # Imported late, as jax is above.
    from faceshifter_jax.data import count_identities

    num_identities = count_identities(config.data.path)
    if num_classes not in (0, num_identities):
        raise UserError(
            f"config.model.num_classes is {num_classes}, but the dataset in {config.data.path} "
            f"has {num_identities} identities: set it to 0 to take the dataset's number"
        )
    config.model.num_classes = num_identities
