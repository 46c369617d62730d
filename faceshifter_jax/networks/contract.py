"""What trained networks were fed: the conditions under which they give what they give at home.

A generator of another project was trained on faces that were aligned in that project's way, and
on embeddings of one identity network that saw one part of them. A network file says all of it, and
whatever feeds the network follows it: training, evaluation, swapping and the commands.
"""

import dataclasses
from typing import Any

RESIZES = ("antialiased", "bilinear", "corners")
EMBEDDINGS = ("unit", "raw")
CHANNEL_ORDERS = ("rgb", "bgr")
REGION_SIDE = 256
WHOLE, ARCFACE_CROP = (0, REGION_SIDE), (19, 237)

REGIONS = {
    "arcface": ARCFACE_CROP,
    "taotaonice": ARCFACE_CROP,
    "arcface-tight": WHOLE,
    "insightface-0.2": WHOLE,
    "ffhq": WHOLE,
}
"""Name of an alignment (`faces.alignment`) -> what identity networks usually see of its squares."""

_OF_ONE_TEMPLATE = ("arcface", "arcface-tight", "taotaonice")


def have_one_template(first: str, second: str) -> bool:
    """Whether two alignments put a face to the same place of what `REGIONS` has for them."""
    return first == second or {first, second} <= set(_OF_ONE_TEMPLATE)


@dataclasses.dataclass(frozen=True)
class View:
    """What an identity network sees of an aligned square.

    Attributes:
      region: first row and column, and the one after the last, in 256ths of the square's side.
      resize: how that is brought to the network's size: `antialiased`; or without antialiasing
        `bilinear`, where the middles of the outermost pixels move, or `corners`, where they stay.
    """

    region: tuple[int, int] = ARCFACE_CROP
    resize: str = "antialiased"

    def __post_init__(self):
        begin, end = self.region
        if not (0 <= begin < end <= REGION_SIDE and self.resize in RESIZES):
            raise ValueError(f"impossible view: {self}")

    def __str__(self) -> str:
        begin, end = self.region
        of = f"rows and columns {begin} to {end - 1} of {REGION_SIDE}"
        how = {"bilinear": "bilinear", "corners": "bilinear with corners aligned"}
        shown = "the whole square" if self.region == WHOLE else of
        return f"{shown}, {how.get(self.resize, self.resize)}"


USUAL_VIEW = View()
"""The ArcFace crop of squares that are aligned by the template widened by 1 / 0.85."""


@dataclasses.dataclass(frozen=True)
class WantedIdentity:
    """The identity network that a published generator was trained with.

    Attributes:
      name: what to look for, for messages.
      settings: architecture and settings of it, pairs of name and value.
      size, channel_order: see `InputFormat`.
      is_one_of_many: whether networks with these settings but other weights go around.
      sha256: content hash of its network file, if the user has said which it is.
    """

    name: str
    settings: tuple[tuple[str, Any], ...] = ()
    size: int = 112
    channel_order: str = "rgb"
    is_one_of_many: bool = False
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Contract:
    """How a generator is fed.

    Attributes:
      alignment: of the squares, a key of `REGIONS`.
      side: pixels of the squares that are cut from photographs, which are then resized to the
        generator's; None where they are cut in its size.
      embedding: what it takes of the identity network's embedding: `unit` length, or `raw`.
      view: what the identity network sees.
      identity: which identity network that is; None where the training run records it.
    """

    alignment: str = "arcface"
    side: int | None = None
    embedding: str = "unit"
    view: View = USUAL_VIEW
    identity: WantedIdentity | None = None

    def __post_init__(self):
        if self.alignment not in REGIONS or self.embedding not in EMBEDDINGS:
            raise ValueError(f"impossible contract: {self}")
        if self.side is not None and self.side < 1:
            raise ValueError(f"impossible contract: {self}")

    def aligned_by(self, alignment: str) -> "Contract":
        """The same for squares of another alignment, with the part of them that is usual there."""
        if alignment == self.alignment:
            return self
        view = dataclasses.replace(self.view, region=REGIONS[alignment])
        return dataclasses.replace(self, alignment=alignment, view=view)


def contract_from(fields: dict[str, Any] | None) -> Contract | None:
    """Rebuilds a contract from `dataclasses.asdict` by way of JSON.

    Raises:
      KeyError, TypeError, ValueError: these are no fields of a contract.
    """
    if fields is None:
        return None
    identity = fields["identity"]
    if identity is not None:
        settings = tuple((name, value) for name, value in identity["settings"])
        identity = WantedIdentity(**{**identity, "settings": settings})
    return Contract(**{**fields, "view": view_from(fields["view"]), "identity": identity})


def view_from(fields: dict[str, Any]) -> View:
    """Rebuilds a view, as `contract_from`."""
    return View(**{**fields, "region": tuple(fields["region"])})
