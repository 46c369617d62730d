"""Linking faces of successive frames to tracks, and tracks to people."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from faceshifter_jax.faces.face import Face
from faceshifter_jax.swapping.video.smoothing import smooth

EmbedFaces = Callable[[Sequence[int]], np.ndarray | None]
"""Indices of faces in their frame to their embeddings (N, E); None without an identity network."""

# In units of the landmarks' spread, about a third of a face's width: how far a face moves from one
# frame to the next, how much farther with every frame that it was not seen in, and at most.
_REACH, _REACH_A_FRAME, _LARGEST_REACH = 1.5, 0.3, 3.0
_LARGEST_GROWTH = 1.6
# What a step in cosine of 1 counts against a step in place of the whole reach.
_COSINE_WEIGHT = 2.0
_IMPOSSIBLE = 1e6
# The first faces of a track are embedded, then every so many.
_FIRST_EMBEDDED, _EMBEDDED_EVERY = 3, 10
_COORDINATES = 14


class Moment(NamedTuple):
    """A frame's number, and the seconds at which it appears and disappears."""

    frame: int
    begin: float
    end: float


@dataclass(eq=False)
class Track:
    """One face over successive frames, without a cut.

    Attributes:
      frames: numbers of the frames in which it was found.
      times: seconds at which they appear.
      end: seconds at which the last of them disappears.
      coordinates: of each of them 14 numbers: five landmarks, then the box.
      score: the best of the detector's.
    """

    frames: array = field(default_factory=lambda: array("i"))
    times: array = field(default_factory=lambda: array("d"))
    end: float = 0.0
    coordinates: array = field(default_factory=lambda: array("f"))
    score: float = 0.0
    _embeddings: np.ndarray | float = 0.0

    def add(self, moment: Moment, face: Face) -> None:
        """Takes the face that was found in a frame."""
        self.frames.append(moment.frame)
        self.times.append(moment.begin)
        self.end = moment.end
        self.coordinates.extend(map(float, (*face.landmarks.reshape(-1), *face.box)))
        self.score = max(self.score, face.score)

    def add_embedding(self, embedding: np.ndarray) -> None:
        """Takes the embedding (E,) of one of its faces."""
        self._embeddings = self._embeddings + embedding

    @property
    def embedding(self) -> np.ndarray | None:
        """(E,) of unit length, the mean of those that were taken; None without any."""
        if not isinstance(self._embeddings, np.ndarray):
            return None
        return self._embeddings / max(float(np.linalg.norm(self._embeddings)), 1e-12)

    @property
    def start(self) -> int:
        """Number of its first frame."""
        return self.frames[0]

    @property
    def stop(self) -> int:
        """Number of the frame after its last."""
        return self.frames[-1] + 1

    @property
    def presence(self) -> float:
        """Square pixels of its box, summed over the seconds for which it is seen."""
        boxes = self.samples()[:, 10:]
        sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        seconds = np.diff(np.append(np.frombuffer(self.times), self.end))
        return float(sides.prod(1) @ seconds)

    def overlaps(self, other: "Track") -> bool:
        """Whether both are seen in one frame."""
        return self.start < other.stop and other.start < self.stop

    def samples(self) -> np.ndarray:
        """(N, 14) of the N frames in which it was found."""
        return np.frombuffer(self.coordinates, np.float32).reshape(-1, _COORDINATES)

    def smoothed(self, reach: float) -> "SmoothTrack":
        """Takes the detector's noise out; see `smooth` for `reach`, in seconds."""
        values = self.samples()
        spread = values[:, :10].reshape(-1, 5, 2).std(axis=1).mean(axis=1)
        times = np.frombuffer(self.times)
        smooth_values = smooth(times, values, spread, reach).astype(np.float32)
        return SmoothTrack(self.start, self.stop, times.copy(), smooth_values, self.score)


@dataclass(frozen=True, eq=False)
class SmoothTrack:
    """A track that gives its face at any moment.

    Attributes:
      start: number of its first frame.
      stop: number of the frame after its last.
      times: (N,) float64, seconds at which the frames appear in which it was found.
      values: (N, 14) float32, landmarks and box in them.
      score: of its face.
    """

    start: int
    stop: int
    times: np.ndarray
    values: np.ndarray
    score: float

    def face_at(self, time: float) -> Face:
        """The face in the frame that appears at `time`; in between on a straight line."""
        right = min(int(np.searchsorted(self.times, time)), len(self.times) - 1)
        left = max(right - 1, 0)
        width = float(self.times[right] - self.times[left])
        share = 1 - (float(self.times[right]) - time) / width if width > 0 else 1.0
        values = (1 - share) * self.values[left] + share * self.values[right]
        return Face(
            values[:10].reshape(5, 2).astype(np.float32), values[10:].astype(np.float32), self.score
        )


class Tracker:
    """Joins the faces of successive frames to tracks.

    Attributes:
      tracks: all of them, in the order in which they begin.
    """

    def __init__(self, max_gap: float):
        """`max_gap`: the seconds that a face may be lost without its track ending."""
        self.tracks: list[Track] = []
        self._max_gap = max_gap
        self._active: list[Track] = []
        self._last_look = -1

    def cut(self) -> None:
        """Ends all tracks: the next frame is of another shot."""
        self._active = []

    def explains(self, frame: int, faces: Sequence[Face]) -> bool:
        """Whether these are the active tracks' faces, no more and no fewer."""
        if len(faces) != len(self._active):
            return False
        return len(_assign(self._distances(frame, faces))) == len(faces)

    def follow(self, moment: Moment, faces: Sequence[Face], embed: EmbedFaces) -> list[int]:
        """Takes the faces of a frame.

        Args:
          moment: the frame, which comes after that of the call before.
          faces: all that were found in it.
          embed: called with the faces whose identity matters.

        Returns:
          indices of the faces that `embed` was asked for.
        """
        self._drop_lost(moment)
        self._last_look = moment.frame
        costs = self._distances(moment.frame, faces)
        near = costs < _IMPOSSIBLE
        doubtful = (near & ((near.sum(0) > 1)[None] | (near.sum(1) > 1)[:, None])).any(0)
        embeddings = dict(_ask(embed, np.flatnonzero(doubtful).tolist()))
        for index, embedding in embeddings.items():
            for row, track in enumerate(self._active):
                if near[row, index] and track.embedding is not None:
                    cosine = float(track.embedding @ embedding)
                    costs[row, index] += _COSINE_WEIGHT * (1 - cosine)
        owners = {index: self._active[row] for row, index in _assign(costs)}
        for index, face in enumerate(faces):
            if index not in owners:
                owners[index] = Track()
                self.tracks.append(owners[index])
                self._active.append(owners[index])
            owners[index].add(moment, face)
        due = [i for i, track in owners.items() if _is_due(track) and i not in embeddings]
        embeddings |= dict(_ask(embed, sorted(due)))
        for index, embedding in embeddings.items():
            owners[index].add_embedding(embedding)
        return sorted(embeddings)

    def _drop_lost(self, moment: Moment) -> None:
        """Ends tracks whose faces have not been found for too long."""
        self._active = [
            track
            for track in self._active
            if track.frames[-1] == self._last_look
            or moment.begin - track.times[-1] <= self._max_gap
        ]

    def _distances(self, frame: int, faces: Sequence[Face]) -> np.ndarray:
        """(tracks, faces), as shares of the reach; _IMPOSSIBLE beyond it."""
        costs = np.full((len(self._active), len(faces)), _IMPOSSIBLE)
        for row, track in enumerate(self._active):
            last = np.array(track.coordinates[-_COORDINATES:][:10]).reshape(5, 2)
            unseen = frame - track.frames[-1] - 1
            reach = min(_REACH + _REACH_A_FRAME * unseen, _LARGEST_REACH)
            for column, face in enumerate(faces):
                spread, its_spread = _spread(last), _spread(face.landmarks)
                growth = max(spread, its_spread) / max(min(spread, its_spread), 1e-6)
                step = np.hypot(*(face.landmarks.mean(0) - last.mean(0)))
                share = step / (reach * max(spread, its_spread, 1e-6))
                if share <= 1 and growth <= _LARGEST_GROWTH:
                    costs[row, column] = share
        return costs


def group_people(tracks: Sequence[Track], threshold: float) -> list[list[Track]]:
    """Groups the tracks of one person: alike, and never in the same frame.

    Args:
      tracks: of one video.
      threshold: cosine of mean embeddings from which two tracks may be of one person.

    Returns:
      the tracks of each person; the one seen largest and longest comes first.
    """
    people: list[list[Track]] = []
    sums: list[np.ndarray] = []
    for track in sorted(tracks, key=lambda track: -track.presence):
        embedding = track.embedding
        best, best_cosine = None, threshold
        for index, person in enumerate(people):
            if embedding is None or any(track.overlaps(other) for other in person):
                continue
            cosine = float(embedding @ sums[index]) / max(float(np.linalg.norm(sums[index])), 1e-12)
            if cosine >= best_cosine:
                best, best_cosine = index, cosine
        if best is None:
            people.append([track])
            sums.append(np.zeros(1) if embedding is None else embedding.copy())
        else:
            people[best].append(track)
            sums[best] += embedding
    return sorted(people, key=lambda person: -sum(track.presence for track in person))


def _ask(embed: EmbedFaces, indices: Sequence[int]) -> list[tuple[int, np.ndarray]]:
    embeddings = embed(indices) if len(indices) else None
    return [] if embeddings is None else list(zip(indices, embeddings, strict=True))


def _assign(costs: np.ndarray) -> list[tuple[int, int]]:
    rows, columns = linear_sum_assignment(costs)
    return [(r, c) for r, c in zip(rows, columns, strict=True) if costs[r, c] < _IMPOSSIBLE]


def _is_due(track: Track) -> bool:
    count = len(track.frames)
    return count <= _FIRST_EMBEDDED or count % _EMBEDDED_EVERY == 0


def _spread(landmarks: np.ndarray) -> float:
    return float(landmarks.std(axis=0).mean())
