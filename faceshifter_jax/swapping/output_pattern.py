"""Names of outputs with fields in braces, such as `swaps/{stem}_as_{source}{suffix}`."""

import difflib
import string
from collections.abc import Mapping
from pathlib import Path

from faceshifter_jax.errors import UserError

FIELDS = {
    "stem": "the target's name without its suffix",
    "suffix": "the suffix of what is written, such as .png",
    "folder": "the folder of the target below TARGET",
    "source": "the name of the first source without its suffix",
    "number": "the target's number from 1 on, as {number:04d} with zeros in front",
}
"""Field -> what it stands for."""


def is_pattern(text: str) -> bool:
    """Whether an output's name has fields; what exists under that name is none."""
    return ("{" in text or "}" in text) and not Path(text).exists()


def check_pattern(text: str, option: str, *, has_source: bool = True) -> None:
    """Raises UserError for a pattern that cannot be filled; `option` names it in the message."""
    try:
        pieces = [piece for piece in string.Formatter().parse(text) if piece[1] is not None]
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}; a brace itself is written twice") from error
    for _, field, spec, conversion in pieces:
        if field not in FIELDS:
            near = difflib.get_close_matches(str(field), FIELDS, n=1)
            meant = f"did you mean {{{near[0]}}}? " if near else ""
            known = " ".join(f"{{{name}}}" for name in FIELDS)
            raise UserError(
                f"{option} {text}: {{{field}}} is unknown; {meant}There are {known}, and a brace "
                "itself is written twice"
            )
        if field == "source" and not has_source:
            raise UserError(f"{option} {text}: {{source}} is of --source, and there is none")
        try:
            format(1 if field == "number" else "a", spec or "")
        except ValueError as error:
            raise UserError(f"{option} {text}: {{{field}:{spec}}}: {error}") from error
        if conversion:
            raise UserError(f"{option} {text}: {{{field}}} takes no !{conversion}")


def fill_pattern(text: str, name: str, *, suffix: str, source: str | None, number: int) -> Path:
    """Returns the output's path for a target.

    Args:
      text: a pattern that `check_pattern` took.
      name: the target's path below TARGET, or its name.
      suffix: for `{suffix}`.
      source: the first source's path, None for none.
      number: for `{number}`.
    """
    target = Path(name)
    fields: Mapping[str, object] = {
        "stem": target.stem,
        "suffix": suffix,
        # At the top "." keeps "{folder}/a.png" from being "/a.png".
        "folder": target.parent.as_posix(),
        "source": Path(source).stem if source else "",
        "number": number,
    }
    return Path(text.format_map(fields))


def first_folder(text: str) -> Path:
    """Returns the folder that all outputs of a pattern lie in."""
    plain = text.partition("{")[0]
    return Path(plain if plain.endswith("/") else Path(plain).parent)
