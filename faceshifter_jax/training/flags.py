"""Around the flags of a training run: configs by name, settings by name, and what was meant."""

import argparse
import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from faceshifter_jax.errors import UserError
from faceshifter_jax.logs import DEFAULT_LEVEL, LEVELS


def find_config_file(name: str) -> str:
    """The path of a config's file, or of one of the package's by its name."""
    if os.path.isfile(name):
        return name
    # Of an installed package, and of a checkout.
    package = Path(__file__).parents[1]
    homes = [package / "configs", package.parent / "configs"]
    own = {file.stem: file for home in reversed(homes) for file in sorted(home.glob("[a-z]*.py"))}
    own.pop("default", None)
    if name in own:
        return str(own[name])
    near = difflib.get_close_matches(name, own, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UserError(
        f"no config file {name}{hint}: name one such as configs/aei.py, or one that comes with the "
        f"package: {', '.join(own)}"
    )


def meant_setting(argument: str, settings: Sequence[str]) -> str:
    """How a setting is written that was given as --batch-size=3 or batch_size=3; "" for others."""
    match = re.match(r"(--?)?(?:no)?([A-Za-z][\w.-]*)(=|$)", argument)
    # A word alone is a value.
    if match is None or not (match[1] or match[3]) or match[2].startswith("config."):
        return ""
    name = match[2].replace("-", "_")
    if name in ("workdir", "config"):
        return ""
    found = [key for key in settings if name in (key, key.rpartition(".")[2])]
    found = found or (difflib.get_close_matches(name, settings, n=1) if match[1] else [])
    return " or ".join(f"--config.{key}=VALUE" for key in found[:3])


def list_settings(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every setting of a config by its full name, such as data.path, with its value."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from list_settings(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def take_log_level(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Separates the value of --log-level from all other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--log-level", default=DEFAULT_LEVEL)
    try:
        known, rest = parser.parse_known_args(argv[1:])
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    if known.log_level not in LEVELS:
        raise UserError(f"--log-level is {known.log_level!r}: choose one of {', '.join(LEVELS)}")
    return known.log_level, [argv[0], *rest]
