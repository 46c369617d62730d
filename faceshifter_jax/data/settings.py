"""The settings of a loader: a config's `data` part, checked."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from faceshifter_jax.errors import UserError

KINDS = ("pairs", "identities")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The keys of a config's `data` part; shares and occluders are for pairs only."""

    path: str
    """Directory of the prepared dataset; of several with shares: "photos:0.7,drawn:0.3"."""
    alignment: str = "arcface"
    """How its faces must be aligned, a key of `faces.alignment.ALIGNMENTS`."""
    same_picture_share: float = 0.2
    """Share of the pairs whose source and target are the same picture."""
    same_identity_share: float = 0.0
    """Share of the pairs that are two pictures of one identity."""
    reconstruct_same_identity: bool = False
    """Whether two pictures of one identity count as the same (`same` = 1) in the batch."""
    answer_share: float = 0.0
    """Share of the pairs of different people whose right answer is in the batch, too; of pairs
    from datasets of `faceshifter render --group-size`."""
    horizontal_flip: bool = False
    """Whether half the pictures, drawn at random, are mirrored."""
    colour_jitter: float = 0.0
    """Strength of random brightness, contrast, saturation and hue, 0 (off) to 1."""
    pseudo_share: float = 0.0
    """Share of the pairs of different people without an answer that are marked to learn from a
    pseudo target (ReliableSwap, arXiv 2306.05356)."""
    subset: str = ""
    """List of pictures, from `faceshifter mine`, that alone are targets; "": all are."""
    occlusion_share: float = 0.0
    """Share of the pairs whose target gets something in front of the face."""
    occluders: str = ""
    """Folder of PNG files with alpha that are laid over faces; "": built-in things."""
    identity_views: int = 0
    """Random views of each picture that the identity network sees; 0: the exact crop."""
    identity_codes: bool = False
    """Whether batches of identities hold the numbers that describe each rendered person."""
    num_threads: int = 4
    """Threads that prepare batches during training; 0 prepares each when it is requested."""
    prefetch_batches: int = 8
    """Batches held ready or in the making; bounds how many threads can work."""
    cache_megabytes: float = 256.0
    """Decoded pictures stay in memory if the whole dataset fits this budget."""


_PAIRS_ONLY = (
    "same_picture_share",
    "same_identity_share",
    "reconstruct_same_identity",
    "answer_share",
    "pseudo_share",
    "subset",
    "occlusion_share",
    "occluders",
)
_LIMITS = {
    "identity_views": (0, 64),
    "num_threads": (0, 1024),
    "prefetch_batches": (1, 10**6),
    "cache_megabytes": (0, 10**9),
}
_ZERO_TO_ONE = (
    "same_picture_share",
    "same_identity_share",
    "answer_share",
    "pseudo_share",
    "colour_jitter",
    "occlusion_share",
)


def read_settings(kind: str, settings: Mapping[str, Any]) -> DataSettings:
    """Checks a mapping or ConfigDict against `DataSettings`; missing keys take the defaults.

    Raises:
        UserError: an unknown kind or key, no path, or a value that makes no sense.
    """
    if kind not in KINDS:
        raise UserError(f"unknown kind of batch {kind!r}: choose one of {', '.join(KINDS)}")
    foreign = ("identity_codes",) if kind == "pairs" else _PAIRS_ONLY
    known = [field.name for field in dataclasses.fields(DataSettings) if field.name not in foreign]
    for key in settings:
        if key not in known:
            raise UserError(
                f"data.{key} is not a setting for batches of {kind}: known are {', '.join(known)}"
            )
    if not settings.get("path"):
        raise UserError("data.path is empty: set it to the directory of a prepared dataset")
    checked = DataSettings(**{key: settings[key] for key in settings})
    _check_types(checked)
    _check_ranges(checked)
    return checked


def _check_types(settings: DataSettings) -> None:
    for name, kind in get_type_hints(DataSettings).items():
        value = getattr(settings, name)
        wanted = (int, float) if kind is float else kind
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"data.{name} must be of type {kind.__name__}, got {value!r}")


def _check_ranges(settings: DataSettings) -> None:
    for name in _ZERO_TO_ONE:
        value = getattr(settings, name)
        if not 0 <= value <= 1:
            raise UserError(f"data.{name} must lie between 0 and 1, got {value}")
    if settings.occluders and not settings.occlusion_share:
        raise UserError(
            "data.occluders names cut-outs, but data.occlusion_share is 0, so that none is laid "
            "over a face: set the share above 0 or data.occluders to nothing"
        )
    shares = settings.same_picture_share + settings.same_identity_share
    if shares > 1 + 1e-9:
        raise UserError(
            "data.same_picture_share and data.same_identity_share must not exceed 1 together, "
            f"got {shares:g}"
        )
    for name, (least, most) in _LIMITS.items():
        value = getattr(settings, name)
        if not least <= value <= most:
            raise UserError(f"data.{name} must be at least {least} and at most {most}, got {value}")
