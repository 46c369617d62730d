"""What unfinished work on a video was made for."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import faceshifter_jax
from faceshifter_jax.swapping.assignment import Assignment
from faceshifter_jax.swapping.swapper import Swapper

# Changed whenever frame times mean something else, so that older unfinished work is discarded.
_CLOCK = 2


def plan_video(
    swapper: Swapper, assignment: Assignment, video: Path, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Lists everything that a swapped video depends on, for `files.unfinished_work`."""
    import av

    facts = video.stat()
    digest = hashlib.sha256()
    for name, value in sorted(vars(assignment).items()):
        digest.update(name.encode())
        _digest_into(digest, value)
    provenance = swapper.provenance
    return {
        "video": [str(video.resolve()), facts.st_size, facts.st_mtime_ns],
        "assignment": [type(assignment).__name__, digest.hexdigest()],
        "network": [swapper.image_size, provenance.to_pairs() if provenance else None],
        "squares": [swapper.square_size, swapper.finder.alignment],
        "detector": _describe(swapper.finder.detector),
        "mask": swapper.mask,
        "settings": dict(settings),
        "clock": _CLOCK,
        "versions": [faceshifter_jax.__version__, av.__version__],
    }


def _digest_into(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(repr(value.shape).encode() + value.tobytes())
    elif isinstance(value, list | tuple):
        for part in value:
            _digest_into(digest, part)
    else:
        digest.update(repr(value).encode())


def _describe(detector: object) -> list:
    """Describes a detector by its name and plain settings."""
    settings = {
        name: value
        for name, value in sorted(vars(detector).items())
        if isinstance(value, bool | int | float | str)
    }
    return [type(detector).__qualname__, settings]
