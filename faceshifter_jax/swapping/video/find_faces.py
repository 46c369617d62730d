"""The first pass over a video: which faces are in it, where and when."""

import base64
import json
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.face import Face
from faceshifter_jax.faces.finder import FaceFinder
from faceshifter_jax.swapping.video.tracking import Moment, Track, Tracker

LARGEST_DETECT_EVERY = 30
# Seconds for which a face may be lost, as behind a hand, and still be taken for the same.
_LARGEST_GAP = 0.5
# A cut changes a picture's colours, and changes them in most places. Shares of its pixels, and
# grey levels.
_CUT_COLOURS, _CUT_LEVELS = 0.3, 18.0
_THUMBNAIL = 64, 36


class WatchedFrame(Protocol):
    """A frame of what is watched; attributes as in `media.video_reader.Frame`."""

    @property
    def index(self) -> int: ...
    @property
    def time(self) -> int: ...
    @property
    def duration(self) -> int: ...
    @property
    def picture(self) -> Any: ...


class Watched(Protocol):
    """A video or an animation at its start.

    Attributes:
      second: units of its frames' times a second.
    """

    @property
    def second(self) -> float: ...

    def frames(self) -> Iterator[Any]:
        """Yields each `WatchedFrame`."""
        ...

    def upright(self, picture: Any) -> np.ndarray:
        """Returns a frame's picture, upright: uint8 (H, W, 3)."""
        ...

    def thumbnail(self, picture: Any, width: int, height: int) -> np.ndarray:
        """Returns a frame's picture as it is stored, shrunk to uint8 (height, width, 3)."""
        ...


@dataclass(eq=False)
class Seen:
    """The results of the first pass.

    Attributes:
      times, durations: of all frames, in units of the video's time base.
      cuts: numbers of the frames at which a shot begins, but for the first.
      tracks: the faces.
    """

    times: array = field(default_factory=lambda: array("q"))
    durations: array = field(default_factory=lambda: array("q"))
    cuts: list[int] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)


def find_faces(
    video: Watched,
    finder: FaceFinder,
    log: Path,
    *,
    detect_every: int,
    advance: Callable[[int], None],
) -> Seen:
    """Looks for faces in all frames, or in every n-th.

    In between, faces are where a straight line puts them, unless one comes or goes: then the
    frames between are looked at too.

    Args:
      video: at its start.
      finder: finds and embeds faces.
      log: file of what was found; if it exists, the work continues after its last entry.
      detect_every: n.
      advance: told how many more frames are done.

    Raises:
      UserError: as `VideoReader.frames`.
    """
    watch = _Watch(video, finder, detect_every)
    known = watch.replay(log)
    advance(known)
    with log.open("a") as file:
        for group in watch.groups(known):
            file.write(json.dumps(group) + "\n")
            file.flush()
            advance(len(group))
    return watch.seen


class _Watch:
    """The state of the first pass."""

    def __init__(self, video: Watched, finder: FaceFinder, detect_every: int):
        self.seen = Seen()
        self._video = video
        self._finder = finder
        self._detect_every = detect_every
        self._unit = 1 / video.second
        self._tracker = Tracker(_LARGEST_GAP)
        self.seen.tracks = self._tracker.tracks

    def replay(self, log: Path) -> int:
        """Takes what an earlier run found; returns how many frames that were."""
        if not log.exists():
            return 0
        end = 0
        with log.open("rb") as file:
            for line in file:
                # A killed process may have left half a line.
                if not line.endswith(b"\n"):
                    break
                for row in json.loads(line):
                    self._take(row, _Remembered(row["faces"]).embed)
                end += len(line)
        os.truncate(log, end)
        return len(self.seen.times)

    def groups(self, known: int) -> Iterator[list[dict[str, Any]]]:
        """Yields rows for the log: of frames up to the next one that had to be looked at."""
        waiting: list[WatchedFrame] = []
        cuts = _Cuts()
        for frame in self._video.frames():
            is_cut = cuts.begin_with(self._video.thumbnail(frame.picture, *_THUMBNAIL))
            if frame.index < known:
                continue
            if is_cut:
                if waiting:
                    yield self._look(waiting)
                waiting = []
            waiting.append(frame)
            if is_cut or frame.index == 0 or len(waiting) == self._detect_every:
                yield self._look(waiting, is_cut)
                waiting = []
        if waiting:
            yield self._look(waiting)

    def _look(self, frames: Sequence[WatchedFrame], is_cut: bool = False) -> list[dict[str, Any]]:
        """Looks at the last of some frames, at the others only if something came or went."""
        if is_cut:
            self._tracker.cut()
        *between, last = (_Look(frame, self._video, self._finder) for frame in frames)
        everywhere = bool(between) and not self._tracker.explains(last.frame.index, last.faces)
        rows = []
        for look in between:
            rows.append(self._take(look.row(everywhere), look.embed))
        rows.append(self._take(last.row(True, is_cut), last.embed))
        return rows

    def _take(self, row: dict[str, Any], embed: Callable) -> dict[str, Any]:
        """Adds a frame to what was seen; returns its row with the embeddings that were needed."""
        seen, index = self.seen, len(self.seen.times)
        seen.times.append(row["time"])
        seen.durations.append(row["duration"])
        if row["cut"]:
            self._tracker.cut()
            seen.cuts.append(index)
        if row["faces"] is not None:
            found = {}

            def embed_and_remember(indices: Sequence[int]) -> np.ndarray | None:
                embeddings = embed(indices)
                if embeddings is not None:
                    found.update(zip(indices, embeddings, strict=True))
                return embeddings

            faces = [_face_from(entry) for entry in row["faces"]]
            begin, end = row["time"], row["time"] + row["duration"]
            moment = Moment(index, begin * self._unit, end * self._unit)
            self._tracker.follow(moment, faces, embed_and_remember)
            for number, embedding in found.items():
                row["faces"][number]["embedding"] = _to_text(embedding)
        return row


class _Look:
    """A frame in which faces may have to be found."""

    def __init__(self, frame: WatchedFrame, video: Watched, finder: FaceFinder):
        self.frame = frame
        self._video = video
        self._finder = finder
        self._pixels: np.ndarray | None = None
        self._faces: list[Face] | None = None

    @property
    def faces(self) -> list[Face]:
        if self._faces is None:
            self._pixels = self._video.upright(self.frame.picture)
            self._faces = self._finder.detect(self._pixels)
        return self._faces

    def embed(self, indices: Sequence[int]) -> np.ndarray | None:
        faces, pixels = self.faces, self._pixels
        if pixels is None or not self._finder.can_embed:
            return None
        return self._finder.embed([self._finder.align(pixels, faces[i]) for i in indices])

    def row(self, looked_at: bool, is_cut: bool = False) -> dict[str, Any]:
        faces = None
        if looked_at:
            faces = [
                {
                    "at": [*face.landmarks.reshape(-1).tolist(), *face.box.tolist()],
                    "score": face.score,
                }
                for face in self.faces
            ]
        frame = self.frame
        return {"time": frame.time, "duration": frame.duration, "cut": is_cut, "faces": faces}


class _Remembered:
    """The faces of a row of the log, with their embeddings."""

    def __init__(self, faces: list[dict[str, Any]] | None):
        self._faces = faces or []

    def embed(self, indices: Sequence[int]) -> np.ndarray | None:
        texts = [self._faces[index].get("embedding") for index in indices]
        found = [text for text in texts if text is not None]
        if len(found) < len(texts):
            return None
        return np.stack([_from_text(text) for text in found])


class _Cuts:
    """Tells where a shot begins, by the frames' colours."""

    def __init__(self):
        self._previous: tuple[np.ndarray, np.ndarray] | None = None

    def begin_with(self, small: np.ndarray) -> bool:
        """Whether a shot begins with a frame, of which this is the thumbnail."""
        bins = (small >> 6).astype(np.int64) @ (16, 4, 1)
        histogram = np.bincount(bins.reshape(-1), minlength=64) / bins.size
        small = small.astype(np.float32)
        previous, self._previous = self._previous, (small, histogram)
        if previous is None:
            return False
        colours = np.abs(histogram - previous[1]).sum() / 2
        return bool(colours > _CUT_COLOURS and np.abs(small - previous[0]).mean() > _CUT_LEVELS)


def _face_from(entry: dict[str, Any]) -> Face:
    values = np.array(entry["at"], np.float32)
    return Face(values[:10].reshape(5, 2), values[10:], entry["score"])


def _to_text(embedding: np.ndarray) -> str:
    return base64.b64encode(np.asarray(embedding, "<f4").tobytes()).decode()


def _from_text(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)


def check_detect_every(value: int) -> None:
    """Raises UserError unless faces can be looked for in every `value`-th frame."""
    if not 1 <= value <= LARGEST_DETECT_EVERY:
        raise UserError(
            f"--detect-every must lie between 1 and {LARGEST_DETECT_EVERY}, got {value}"
        )
