"""Attributes of embedded faces as bins for a breakdown."""

from collections.abc import Sequence

from faceshifter_jax.evaluation.findings import Ordered
from faceshifter_jax.synthetic import OCCLUDERS, Attributes

_YAW_BINS = ((10.0, "0 to 10°"), (20.0, "10 to 20°"), (90.0, "above 20°"))
_LIGHT_BINS = ((25.0, "frontal, 0 to 25°"), (50.0, "25 to 50°"), (90.0, "from the side"))

YAW = "yaw of the target"
LIGHT = "direction of the light"
OCCLUDER = "what is in front of the face"


def attribute_bins(attributes: Sequence[Attributes]) -> dict[str, Ordered]:
    """Returns attribute (`YAW`, `LIGHT`, `OCCLUDER`) -> the bin of each picture.

    Yaw and light are how far from the camera's direction they are, to either side.
    """
    yaw, light = (tuple(name for _, name in bins) for bins in (_YAW_BINS, _LIGHT_BINS))
    return {
        YAW: Ordered([_find(abs(how.yaw), _YAW_BINS) for how in attributes], yaw),
        LIGHT: Ordered([_find(abs(how.light.azimuth), _LIGHT_BINS) for how in attributes], light),
        OCCLUDER: Ordered([how.occluder.kind for how in attributes], ("none", *OCCLUDERS)),
    }


def _find(value: float, bins: Sequence[tuple[float, str]]) -> str:
    return next(name for below, name in bins if value < below)
