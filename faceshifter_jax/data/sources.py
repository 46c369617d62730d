"""`data.path`: the datasets of a training run, and the share of the rows that each has."""

import dataclasses
import math
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from faceshifter_jax.errors import UserError
from faceshifter_jax.paths import local_path

_SHARE = re.compile(r"\d{1,9}/\d{1,9}|\d{0,3}\.?\d{1,9}")
_LONGEST_BLOCK = 10_000
_HOW_TO_NAME = (
    "name several datasets as DIR:SHARE,DIR:SHARE, such as data/photos:0.7,data/drawn:0.3"
)


@dataclasses.dataclass(frozen=True)
class Source:
    """The directory of a prepared dataset, and the share of the rows that come from it."""

    path: str
    share: Fraction


def read_sources(text: str) -> tuple[Source, ...]:
    """Reads `data.path`: one directory, or several with shares as in "photos:0.7,drawn:0.3".

    A share is a decimal or a fraction such as 1/3. A text that is an existing directory is taken as
    one, whatever characters its name has.

    Raises:
        UserError: shares that are missing, not above 0 or do not sum up to 1, a URL, or a directory
            that is named twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if Path(local_path(text)).is_dir() or (len(parts) == 1 and _split(text) is None):
        return (Source(local_path(text), Fraction(1)),)
    for part in parts:
        # An address is refused as one, whatever its share.
        local_path(part)
    sources = tuple(_read_source(part) for part in parts)
    total = sum(source.share for source in sources)
    if total != 1:
        raise UserError(f"the shares in data.path sum up to {float(total):.9g}, not to 1: {text}")
    if len({Path(source.path).resolve() for source in sources}) < len(sources):
        raise UserError(f"data.path names a directory twice: {text}")
    if block_length(sources) > _LONGEST_BLOCK:
        raise UserError(f"the shares in data.path must have at most four decimals: {text}")
    return sources


def _read_source(part: str) -> Source:
    split = _split(part)
    if split is None:
        raise UserError(f"there is no share in {part!r} of data.path: {_HOW_TO_NAME}")
    path, share = split
    if not path or share <= 0:
        missing = "directory" if not path else "share above 0"
        raise UserError(f"there is no {missing} in {part!r} of data.path: {_HOW_TO_NAME}")
    return Source(local_path(path), share)


def _split(part: str) -> tuple[str, Fraction] | None:
    """Splits "DIR:SHARE"; None where it does not end in a share."""
    path, colon, share = part.rpartition(":")
    if not colon or not _SHARE.fullmatch(share.strip()):
        return None
    try:
        return path.strip(), Fraction(share.strip())
    except ZeroDivisionError:
        return None


def block_length(sources: Sequence[Source]) -> int:
    """Returns the least number of rows in which all shares are whole: 10 for 0.7 and 0.3."""
    return math.lcm(*(source.share.denominator for source in sources))
