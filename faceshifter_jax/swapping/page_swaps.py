"""What the page of `faceshifter ui` does when somebody asks for a swap."""

import functools
import uuid
from pathlib import Path

from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.errors import UserError
from faceshifter_jax.networks.shipped import default_checkpoint, describe_default
from faceshifter_jax.swapping.assignment import Which
from faceshifter_jax.swapping.swapper import Swapper

CONSENT = (
    "Both people, the one who is seen and the one who is replaced, have agreed to this picture and "
    "know where it will be shown."
)
FACES: dict[str, Which] = {"the largest face": "largest", "all faces": "all"}
"""Words on the page -> `faces` of `Swapper.assign_source`."""


class PageSwaps:
    """The networks behind the page.

    Attributes:
      has_second_stage: whether there is a HEAR-Net to switch off.
    """

    def __init__(
        self, checkpoint: str | None, identity: str | None, hear: str | None, detector: str
    ):
        """Loads the networks; arguments as in `Swapper.load`, without a checkpoint those shipped.

        Raises:
          UserError: as `Swapper.load`.
        """
        if not checkpoint:
            checkpoint = default_checkpoint(with_second_stage=not hear)
            print(describe_default(checkpoint))
        weights = read_weights(checkpoint)
        alone = "hear" in weights.networks and "generator" not in weights.networks
        self.has_second_stage = alone or hear is not None
        self._identity, self._detector = identity, detector
        self._full = Swapper.load(checkpoint, identity=identity, hear=hear, detector=detector)
        # `Swapper.load` has found it there.
        self._first = weights.frozen["aei"]["path"] if alone else checkpoint

    @functools.cached_property
    def _first_stage(self) -> Swapper:
        return Swapper.load(self._first, identity=self._identity, detector=self._detector)

    def swap(
        self,
        source: str | None,
        target: str | None,
        faces: str,
        strength: float,
        second_stage: bool,
        agreed: bool,
        folder: Path,
    ) -> Path:
        """Swaps, and writes a PNG with the statement of provenance.

        Args:
          source, target: photos, None where none was given.
          faces: a key of `FACES`.
          strength: see `Swapper.swap`.
          second_stage: whether HEAR-Net is used, where there is one.
          agreed: whether the sentence `CONSENT` was agreed to.
          folder: where the result is written, under a new name.

        Raises:
          UserError: no agreement, a photo is missing or cannot be read, or it has no face.
        """
        if not agreed:
            raise UserError("tick the box on consent first")
        if not source or not target:
            raise UserError(f"a photo is missing: the {'target' if source else 'source'}")
        if faces not in FACES:
            raise UserError(f"faces must be one of {', '.join(FACES)}, not {faces!r}")
        only_first = self.has_second_stage and not second_stage
        swapper = self._first_stage if only_first else self._full
        assignment, _ = swapper.assign_source(source, FACES[faces])
        swap = swapper.swap_photo(assignment, target, strength=strength)
        result = folder / f"swap_{uuid.uuid4().hex}.png"
        swapper.save(swap, result)
        return result
