"""Pairs of embedded faces whose right answers are rendered: people that no dataset holds."""

import hashlib
from dataclasses import dataclass

import numpy as np

from faceshifter_jax.data.seeds import HELD_OUT_SEED, attribute_seed, identity_seed
from faceshifter_jax.evaluation.processes import in_shares
from faceshifter_jax.synthetic import (
    OCCLUDERS,
    Attributes,
    render,
    render_layers,
    sample_attributes,
    sample_identity,
)

KINDS = tuple(kind for kind in OCCLUDERS if kind != "none")
"""Occluders in front of the faces of occluded pairs, in turn."""


@dataclass(frozen=True)
class GroundTruth:
    """Pairs of embedded faces with the right answers of their swaps.

    Attributes:
      gallery: (N, S, S, 3) uint8, one picture of each identity; the sources.
      source: (B,) int, rows of the gallery.
      target: (B, S, S, 3) uint8, pictures of other identities.
      answer: (B, S, S, 3) uint8, the source's identity with the target's attributes.
      face: (B, S, S) float32 in [0, 1], where the answer shows skin of head and neck.
      target_face: the same of the target.
      occluder: (B, S, S) float32 in [0, 1], the exact cover of what is in front of the face.
      attributes: those of each target and answer.
      second_answer: (B, S, S, 3) uint8, the answers with a third person as source, of whom row
        `second_source` (B,) of the gallery is a picture. Of two identities the second source is
        the target's own. No rows where there are occluders.
    """

    gallery: np.ndarray
    source: np.ndarray
    target: np.ndarray
    answer: np.ndarray
    face: np.ndarray
    target_face: np.ndarray
    occluder: np.ndarray
    attributes: tuple[Attributes, ...]
    second_source: np.ndarray
    second_answer: np.ndarray

    def sources(self) -> np.ndarray:
        """The source's picture of each pair, uint8 (B, S, S, 3)."""
        return self.gallery[self.source]

    def sha256(self) -> str:
        """Hash of the pairs and their pictures."""
        digest = hashlib.sha256()
        arrays = [self.gallery, self.source.astype(np.int64), self.target, self.answer]
        if len(self.second_source):
            arrays += [self.second_source.astype(np.int64), self.second_answer]
        for array in arrays:
            digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def render_ground_truth(
    size: int,
    *,
    num_pairs: int = 200,
    num_identities: int = 100,
    seed: int = HELD_OUT_SEED,
    occluders: bool = False,
) -> GroundTruth:
    """Renders pairs of identities that no dataset holds; all processes, each its share.

    Pair i swaps identity i mod N, in the picture of the gallery, into a picture of another
    identity; over the pairs all identities are sources and targets equally often. The gallery
    has no occluders.

    Args:
      size: pixels a side.
      num_pairs: the number of pairs.
      num_identities: the number of identities N, at least 2.
      seed: another seed, other people.
      occluders: put something in front of every target's face, the kinds in turn.
    """
    identities = [sample_identity(identity_seed(seed, i)) for i in range(num_identities)]
    turn, source, other, second = _choose_people(num_pairs, num_identities)
    second = second[:0] if occluders else second

    def attributes(identity: int, picture: int, occluder: str):
        return sample_attributes(attribute_seed(seed, identity, picture), occluder=occluder)

    scenes = tuple(
        attributes(who, 1 + turn[i], KINDS[i % len(KINDS)] if occluders else "none")
        for i, who in enumerate(other)
    )

    def render_gallery(rows: np.ndarray) -> dict[str, np.ndarray]:
        pictures = [render(identities[i], attributes(i, 0, "none"), size) for i in rows]
        return {"gallery": np.stack(pictures)}

    def render_pairs(rows: np.ndarray) -> dict[str, np.ndarray]:
        answers = [render_layers(identities[source[i]], scenes[i], size) for i in rows]
        targets = [render_layers(identities[other[i]], scenes[i], size) for i in rows]
        pictures = {
            "target": [target.image for target in targets],
            "answer": [answer.image for answer in answers],
            "face": [answer.face_mask for answer in answers],
            "target_face": [target.face_mask for target in targets],
            "occluder": [answer.occluder_mask for answer in answers],
        }
        stacked = {name: np.stack(found) for name, found in pictures.items()}
        seconds = [render(identities[second[i]], scenes[i], size) for i in rows if i < len(second)]
        shape = (len(seconds), size, size, 3)
        return stacked | {"second_answer": np.array(seconds, np.uint8).reshape(shape)}

    return GroundTruth(
        source=source,
        second_source=second,
        attributes=scenes,
        **in_shares(render_gallery, num_identities),
        **in_shares(render_pairs, num_pairs),
    )


def _choose_people(num_pairs: int, num_identities: int) -> tuple[np.ndarray, ...]:
    """For each pair how often its source had a turn before, source, target and second source."""
    turn, source = np.divmod(np.arange(num_pairs), num_identities)
    other = (source + 1 + turn % (num_identities - 1)) % num_identities
    second = (other + 1) % num_identities
    return turn, source, other, np.where(second == source, (second + 1) % num_identities, second)
