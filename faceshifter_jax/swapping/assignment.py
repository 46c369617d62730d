"""Choosing which faces of a target are swapped, and with whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.finder import AlignedFace, FaceFinder
from faceshifter_jax.swapping.defaults import DEFAULT_THRESHOLD
from faceshifter_jax.swapping.video.tracking import Track, group_people

Which = Literal["largest", "all"]

Sources = Sequence[np.ndarray] | np.ndarray
"""B sources: each an aligned face, uint8 (S, S, 3), or several of one person, (K, S, S, 3)."""


@dataclass(frozen=True, eq=False)
class Replacement:
    """A face of the target, and its source: uint8 (S, S, 3), or (K, S, S, 3), K photos of them."""

    face: AlignedFace
    source: np.ndarray


class Assignment(Protocol):
    """Chooses which faces of a target are swapped, and with whom."""

    def choose(
        self, finder: FaceFinder, faces: Sequence[AlignedFace], name: str
    ) -> tuple[list[Replacement], list[str]]:
        """Chooses among the faces of the target called `name`; at least one, the largest first.

        Returns:
          the replacements, at least one, and notes for the user of what is left as it is.

        Raises:
          UserError: no face of it is to be swapped.
        """
        ...


@dataclass(frozen=True, eq=False)
class OneSource:
    """One person for the largest face of each target, or for all its faces.

    Attributes:
      source: the person's aligned face, uint8 (S, S, 3), or several photos of it, (K, S, S, 3).
      which: the faces that get it.
    """

    source: np.ndarray
    which: Which = "largest"

    def choose(
        self, finder: FaceFinder, faces: Sequence[AlignedFace], name: str
    ) -> tuple[list[Replacement], list[str]]:
        """See `Assignment`."""
        if self.which == "all":
            return [Replacement(face, self.source) for face in faces], []
        notes = []
        if len(faces) > 1:
            notes.append(f"of its {len(faces)} faces the largest is swapped, {faces[0]}")
        return [Replacement(faces[0], self.source)], notes


@dataclass(frozen=True, eq=False)
class ByPerson:
    """Some people, each replaced by another; everyone else stays.

    Attributes:
      names: of the N people, for messages.
      embeddings: (N, E) of unit length.
      sources: for each who takes their place, as in `OneSource`.
      threshold: cosine below which a face is somebody else's.
    """

    names: tuple[str, ...]
    embeddings: np.ndarray
    sources: Sources
    threshold: float = DEFAULT_THRESHOLD

    def choose(
        self, finder: FaceFinder, faces: Sequence[AlignedFace], name: str
    ) -> tuple[list[Replacement], list[str]]:
        """See `Assignment`."""
        cosines = finder.embed(faces) @ self.embeddings.T
        persons = match(cosines, self.threshold)
        replaced, notes = [], []
        for face, person, row in zip(faces, persons, cosines, strict=True):
            nearest = int(row.argmax())
            like = f"{face}: the nearest is {self.names[nearest]}, cosine {row[nearest]:.2f}"
            if person is None:
                notes.append(f"left as it is, {like}")
            else:
                replaced.append(Replacement(face, self.sources[person]))
        absent = [self.names[i] for i in range(len(self.names)) if i not in persons]
        if not replaced:
            raise UserError(
                f"none of the people to be replaced was found in {name}: the best cosine is "
                f"{cosines.max():.2f}, and --threshold is {self.threshold:.2f}"
            )
        if absent:
            notes.append(f"not found: {', '.join(absent)}")
        return replaced, notes


def stack_sources(sources: Sources) -> Sources:
    """Returns sources as one array where each has as many photos, else as they are."""
    same = len({source.shape for source in sources}) == 1
    return np.stack(list(sources)) if same and not isinstance(sources, np.ndarray) else sources


def check_squares(sources: np.ndarray, targets: np.ndarray, size: int) -> None:
    """Raises ValueError unless both are as many squares, uint8 (B, size, size, 3)."""
    for name, squares in (("sources", sources), ("targets", targets)):
        if not isinstance(squares, np.ndarray):
            raise ValueError(f"{name} must be an array, not {type(squares).__name__}")
        fits = squares.ndim == 4 and squares.shape[1:] == (size, size, 3) and len(squares)
        if not fits or squares.dtype != np.uint8:
            raise ValueError(
                f"{name} must be uint8 (B, {size}, {size}, 3), B at least 1, not "
                f"{squares.dtype} {squares.shape}"
            )
    if len(sources) != len(targets):
        raise ValueError(f"there are {len(sources)} sources and {len(targets)} targets")


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


def assign_tracks(
    assignment: Assignment, tracks: Sequence[Track], name: str
) -> tuple[list[tuple[Track, np.ndarray]], list[str]]:
    """Chooses among the tracks of a video.

    "largest" is the one person who is seen largest and longest in the whole video; "all" is every
    face; people are told apart by the mean embedding of each track.

    Args:
      assignment: as for photographs.
      tracks: of the video; at least one.
      name: of the video.

    Returns:
      tracks with the source that each gets, see `Replacement`, and notes for the user.

    Raises:
      UserError: none of them is to be swapped.
    """
    # What is seen once is most often not a face.
    lasting = [track for track in tracks if len(track.frames) > 1] or list(tracks)
    if isinstance(assignment, ByPerson):
        return _assign_people(assignment, lasting, name)
    if not isinstance(assignment, OneSource):
        raise TypeError(f"a {type(assignment).__name__} is not for videos")
    if assignment.which == "all":
        return [(track, assignment.source) for track in lasting], []
    people = group_people(lasting, DEFAULT_THRESHOLD)
    chosen = people[0]
    if chosen[0].embedding is None:
        # Without an identity network: the largest face at any time.
        chosen = []
        for track in sorted(lasting, key=lambda track: -track.presence):
            if not any(track.overlaps(other) for other in chosen):
                chosen.append(track)
        return [(track, assignment.source) for track in chosen], []
    notes = []
    if len(people) > 1:
        shares = [sum(track.presence for track in person) for person in people]
        notes.append(
            f"{name}: {len(people)} people are seen; the one seen largest and longest is swapped "
            f"({shares[0] / sum(shares):.0%} of all that faces cover), in frames "
            f"{_spans(chosen)}; --faces all swaps everyone"
        )
    return [(track, assignment.source) for track in chosen], notes


def _assign_people(
    assignment: ByPerson, tracks: Sequence[Track], name: str
) -> tuple[list[tuple[Track, np.ndarray]], list[str]]:
    cosines = np.array([track.embedding for track in tracks]) @ assignment.embeddings.T
    owners: list[list[Track]] = [[] for _ in assignment.names]
    chosen = []
    # Nobody is in one frame twice: the surest come first.
    for index in np.argsort(-cosines, axis=None, kind="stable").tolist():
        row, person = divmod(index, len(assignment.names))
        track = tracks[row]
        taken = any(track is other for other, _ in chosen)
        twice = any(track.overlaps(other) for other in owners[person])
        if cosines[row, person] >= assignment.threshold and not taken and not twice:
            owners[person].append(track)
            chosen.append((track, assignment.sources[person]))
    if not chosen:
        raise UserError(
            f"none of the people to be replaced was found in {name}: the best cosine is "
            f"{cosines.max():.2f}, and --threshold is {assignment.threshold:.2f}"
        )
    notes = [
        f"{name}: {person} is in frames {_spans(own)}, best cosine {column.max():.2f}"
        if own
        else f"{name}: {person} was not found, best cosine {column.max():.2f}"
        for person, own, column in zip(assignment.names, owners, cosines.T, strict=True)
    ]
    return chosen, notes


def _spans(tracks: Sequence[Track], most: int = 4) -> str:
    spans = sorted((track.start, track.stop - 1) for track in tracks)
    text = ", ".join(f"{start} to {last}" for start, last in spans[:most])
    return text if len(spans) <= most else f"{text} and {len(spans) - most} more spans"
