"""Who is to be seen on which face of a target."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from faceshifter_jax.errors import UserError
from faceshifter_jax.swapping.faces import AlignedFace, FaceFinder

DEFAULT_THRESHOLD = 0.5
"""Cosine from which two faces are taken for one person. A converted MobileFaceNet gave pictures of
one person 0.61 to 0.84, and those of different people 0.43 at the most of 351 pairs."""

Which = Literal["largest", "all"]


@dataclass(frozen=True, eq=False)
class Role:
    """A face of the target, and the face that it gets: uint8 (S, S, 3)."""

    face: AlignedFace
    source: np.ndarray


class Casting(Protocol):
    """Says which faces of a target are swapped, and by whom."""

    def cast(
        self, finder: FaceFinder, faces: Sequence[AlignedFace], name: str
    ) -> tuple[list[Role], list[str]]:
        """Chooses among the faces of the target called `name`; at least one, the largest first.

        Returns:
          the roles, at least one, and notes for the user of what is left as it is.

        Raises:
          UserError: no face of it is to be swapped.
        """
        ...


@dataclass(frozen=True, eq=False)
class OneSource:
    """One person for the largest face of each target, or for all its faces."""

    source: np.ndarray
    which: Which = "largest"

    def cast(
        self, finder: FaceFinder, faces: Sequence[AlignedFace], name: str
    ) -> tuple[list[Role], list[str]]:
        """See `Casting`."""
        if self.which == "all":
            return [Role(face, self.source) for face in faces], []
        notes = []
        if len(faces) > 1:
            notes.append(f"of its {len(faces)} faces the largest is swapped, {faces[0]}")
        return [Role(faces[0], self.source)], notes


@dataclass(frozen=True, eq=False)
class ByPerson:
    """Some people, each replaced by another; everyone else stays.

    Attributes:
      names: of the N people, for messages.
      embeddings: (N, E) of unit length.
      sources: who takes each one's place, uint8 (N, S, S, 3).
      threshold: cosine below which a face is somebody else's.
    """

    names: tuple[str, ...]
    embeddings: np.ndarray
    sources: np.ndarray
    threshold: float = DEFAULT_THRESHOLD

    def cast(
        self, finder: FaceFinder, faces: Sequence[AlignedFace], name: str
    ) -> tuple[list[Role], list[str]]:
        """See `Casting`."""
        cosines = finder.embed(faces) @ self.embeddings.T
        persons = match(cosines, self.threshold)
        roles, notes = [], []
        for face, person, row in zip(faces, persons, cosines, strict=True):
            nearest = int(row.argmax())
            like = f"{face}: the nearest is {self.names[nearest]}, cosine {row[nearest]:.2f}"
            if person is None:
                notes.append(f"left as it is, {like}")
            else:
                roles.append(Role(face, self.sources[person]))
        absent = [self.names[i] for i in range(len(self.names)) if i not in persons]
        if not roles:
            raise UserError(
                f"none of the people to be replaced was found in {name}: the best cosine is "
                f"{cosines.max():.2f}, and --threshold is {self.threshold:.2f}"
            )
        if absent:
            notes.append(f"not found: {', '.join(absent)}")
        return roles, notes


def match(cosines: np.ndarray, threshold: float) -> list[int | None]:
    """Finds who is who; nobody is there twice.

    Args:
      cosines: (F, N) of faces and people.
      threshold: cosine below which a face is nobody of them.

    Returns:
      for each face the index of a person, or None; the sum of the cosines is the largest.
    """
    gains = np.maximum(cosines - threshold, 0) + 1e-9 * (cosines >= threshold)
    persons: list[int | None] = [None] * len(cosines)
    for face, person in zip(*linear_sum_assignment(-gains), strict=True):
        if cosines[face, person] >= threshold:
            persons[face] = int(person)
    return persons
