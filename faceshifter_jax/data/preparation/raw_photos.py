"""Preparing a dataset from raw photographs: faces are found, aligned and checked, resumably."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from scipy import ndimage

import faceshifter_jax
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import check_alignment
from faceshifter_jax.faces.finder import build_detector
from faceshifter_jax.faces.names import DEFAULT_DETECTOR, DETECTORS
from faceshifter_jax.files import UnfinishedWork
from faceshifter_jax.media.folders import PictureFile
from faceshifter_jax.media.images import ReadPicture, encode_jpeg
from faceshifter_jax.runtime.workers import affordable_workers, map_in_order

DEFAULT_SHARPNESS = 25.0
"""Variance of the Laplacian below which a face counts as blurred; see `sharpness`."""

# Side that faces are judged at: out-of-focus faces of any size look alike there.
_JUDGED_SIZE = 128
_FACE_SHARE = 0.7
# Besides the largest face, those of at least this share of its size count.
_OTHER_FACE = 0.4
# Memory for a process: a detector, perhaps with TensorFlow, a photograph of 50 megapixels, and its
# share of others.
_BYTES_A_WORKER = 1536 * 2**20
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
_HEADER = struct.Struct("<II")


@dataclasses.dataclass(frozen=True)
class FaceRules:
    """Rules for which photographs are taken.

    Attributes:
      single: whether those with several large faces are rejected; else the largest face is taken.
      min_pixels: pixels of the photograph across the aligned square, at least.
      min_sharpness: `sharpness` of the face, at least.
      detector: the face detector, a name or module:class.
      alignment: how faces are cut out, a key of `faces.alignment.ALIGNMENTS`.
    """

    single: bool = False
    min_pixels: int = 128
    min_sharpness: float = DEFAULT_SHARPNESS
    detector: str = DEFAULT_DETECTOR
    alignment: str = "arcface"

    def check(self) -> None:
        """Raises UserError for an alignment or a detector that cannot be had, or bad numbers."""
        check_alignment(self.alignment)
        if not (self.min_pixels >= 0 and 0 <= self.min_sharpness < float("inf")):
            raise UserError(
                "the least number of pixels and the least sharpness must not be negative"
            )
        if self.detector not in DETECTORS:
            build_detector(self.detector)


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result for one photograph.

    Attributes:
      facts: for the table: reason ("" if it was taken), details, num_faces, score, pixels,
        sharpness, landmarks (ten numbers in the photograph).
      encoded: the aligned face as JPEG; empty if it was not taken.
    """

    facts: dict[str, Any]
    encoded: bytes = b""

    def as_picture(self) -> ReadPicture:
        """Returns the picture in the form that a builder takes."""
        if self.encoded:
            return ReadPicture(self.encoded)
        return ReadPicture(None, f"{self.facts['reason']} ({self.facts['details']})")


_FACTS = ("reason", "details", "num_faces", "score", "pixels", "sharpness", "landmarks")
TABLE_COLUMNS = ("name", *_FACTS)


def find_in_photos(
    photos: Path,
    files: Sequence[PictureFile],
    work: UnfinishedWork,
    *,
    size: int,
    rules: FaceRules,
    num_workers: int | None,
) -> tuple[Iterator[Finding], int]:
    """Finds the faces of photographs; finished work is kept in `work`.

    The result does not depend on the number of processes: each has one thread.

    Args:
      photos: the folder.
      files: its pictures.
      work: where findings are kept.
      size: side of the aligned squares.
      rules: which are taken.
      num_workers: processes; None for one a core, or as many as memory allows.

    Returns:
      the result for each file in turn, and how many of them are known from an earlier run.
    """
    log = work.folder / "findings"
    known = _mend(log)
    paths = [photos / file.name for file in files[known:]]
    judge = functools.partial(_judge_file, size=size, rules=rules)

    def findings() -> Iterator[Finding]:
        yield from _read_log(log)
        work.keep_after_error = True
        with log.open("ab") as file, _environment(_ONE_THREAD):
            rest = map_in_order(
                judge,
                paths,
                num_workers=num_workers or affordable_workers(_BYTES_A_WORKER),
                always_elsewhere=True,
            )
            for finding in rest:
                _write(file, finding)
                yield finding
        work.keep_after_error = False

    return findings(), known


def plan_of(
    photos: Path, files: Sequence[PictureFile], *, size: int, rules: FaceRules
) -> dict[str, Any]:
    """All that the findings depend on, for `unfinished_work`."""
    seen = hashlib.sha256()
    for file in files:
        entry = f"{file.name}\0{_version_of(photos / file.name)}\0"
        seen.update(entry.encode("utf-8", "surrogateescape"))
    return {
        "photos": os.fsencode(photos.resolve()).hex(),
        "files": [len(files), seen.hexdigest()],
        "size": size,
        "rules": dataclasses.asdict(rules),
        "version": faceshifter_jax.__version__,
    }


def _version_of(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        # A broken link, or deleted since it was listed: one of the files that cannot be read.
        return "gone"
    return f"{facts.st_size}\0{facts.st_mtime_ns}"


def sharpness(pixels: np.ndarray, landmarks: np.ndarray) -> float:
    """Measures how sharp the face of a photograph is.

    Args:
      pixels: uint8 (H, W, 3).
      landmarks: (5, 2), the face's.

    Returns:
      the variance of the Laplacian of its grey levels, in grey levels squared, over the middle
      70 % of the face aligned at 128 pixels (Pech-Pacheco et al., "Diatom autofocusing in
      brightfield microscopy", 2000). A face out of focus has a few units, a sharp one hundreds.
    """
    from faceshifter_jax.faces.alignment import align

    grey = np.asarray(Image.fromarray(align(pixels, landmarks, _JUDGED_SIZE)).convert("L"))
    margin = round((1 - _FACE_SHARE) / 2 * _JUDGED_SIZE)
    return float(ndimage.laplace(grey.astype(np.float32))[margin:-margin, margin:-margin].var())


def judge_photo(pixels: np.ndarray, finder: Any, rules: FaceRules) -> Finding:
    """Finds the face of a photograph, uint8 (H, W, 3), and decides whether it is taken.

    `finder` is a `swapping.faces.FaceFinder` with the size of the aligned squares.
    """
    faces = finder.find(pixels)
    if not faces:
        return _rejected("no face", "none was found", num_faces=0)
    largest = faces[0]
    across = finder.size / np.sqrt(np.linalg.det(largest.alignment.matrix[:, :2]))
    clarity = sharpness(pixels, largest.face.landmarks)
    facts = {
        "num_faces": len(faces),
        "score": round(float(largest.face.score), 4),
        "pixels": round(float(across), 1),
        "sharpness": round(clarity, 1),
        "landmarks": [round(float(value), 2) for value in largest.face.landmarks.reshape(-1)],
    }
    large = [f for f in faces if np.sqrt(f.face.area) >= _OTHER_FACE * np.sqrt(faces[0].face.area)]
    if rules.single and len(large) > 1:
        return _rejected("several faces", f"{len(large)} large ones", **facts)
    if across < rules.min_pixels:
        return _rejected("too small", f"{across:.0f} pixels, not {rules.min_pixels}", **facts)
    if clarity < rules.min_sharpness:
        details = f"sharpness {clarity:.1f}, not {rules.min_sharpness:g}"
        return _rejected("blurred", details, **facts)
    return Finding({"reason": "", "details": "", **facts}, encode_jpeg(largest.square))


def write_table(path: Path, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Writes the result for every photograph as a table with tabs between the columns."""
    lines = ["\t".join(TABLE_COLUMNS)]
    for name, facts in rows:
        entries = {"name": name, **facts}
        entries["landmarks"] = " ".join(map(str, facts.get("landmarks", ())))
        lines.append("\t".join(_plain(entries.get(column, "")) for column in TABLE_COLUMNS))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")


def _plain(entry: object) -> str:
    return str(entry).replace("\t", " ").replace("\n", " ")


def _rejected(reason: str, details: str, **facts: Any) -> Finding:
    return Finding({"reason": reason, "details": details, **facts})


def _judge_file(path: Path, *, size: int, rules: FaceRules) -> Finding:
    """Runs in a separate process."""
    from faceshifter_jax.media.photos import load_photo

    try:
        photo = load_photo(path)
    except UserError as error:
        return _rejected("unreadable", _reason_of(error, path))
    return judge_photo(photo.pixels, _finder(size, rules.detector, rules.alignment), rules)


def _reason_of(error: UserError, path: Path) -> str:
    """Returns an error's message about a file, without the file's name."""
    said = str(error).partition(str(path))[2]
    return said.removeprefix(": ") if said.startswith(": ") else f"it{said}"


@functools.cache
def _finder(size: int, detector: str, alignment: str) -> Any:
    from faceshifter_jax.faces.finder import FaceFinder

    return FaceFinder(size, detector, alignment=alignment)


def _write(file: BinaryIO, finding: Finding) -> None:
    file.write(_to_bytes(finding))
    file.flush()


def _to_bytes(finding: Finding) -> bytes:
    facts = json.dumps(finding.facts).encode()
    return _HEADER.pack(len(facts), len(finding.encoded)) + facts + finding.encoded


def _read_log(path: Path) -> Iterator[Finding]:
    """Yields the findings of a file; one that is cut off or damaged ends it."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            lengths = _HEADER.unpack(header)
            facts, encoded = (file.read(length) for length in lengths)
            if (len(facts), len(encoded)) != lengths or (known := _parse(facts)) is None:
                return
            yield Finding(known, encoded)


def _parse(facts: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(facts)
        if isinstance(parsed, dict) and {"reason", "details"} <= parsed.keys():
            return parsed
    return None


def _mend(path: Path) -> int:
    """Removes a finding that a killed process left incomplete; returns how many are complete."""
    if not path.exists():
        return 0
    count = end = 0
    for finding in _read_log(path):
        count += 1
        end += len(_to_bytes(finding))
    os.truncate(path, end)
    return count


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for the processes that are started inside the context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
