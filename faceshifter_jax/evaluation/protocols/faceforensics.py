"""Protocol `faceforensics`: table 1 of the FaceShifter paper on a FaceForensics++ folder.

Version 1, after arXiv 1912.13457, section 4.1: ten evenly spaced frames of every video; frame k of
a target video gets the identity of frame k of its source video; a swap is retrieved if the nearest
of all source frames is of the source video; pose and expression errors are L2 distances between
what an estimator prints of the swap and of the target.
"""

import argparse
import hashlib
import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.features import (
    apply_in_shares,
    describe_network,
    load_expression,
    load_pose,
    try_out,
)
from faceshifter_jax.evaluation.findings import Findings
from faceshifter_jax.evaluation.metrics import retrieval
from faceshifter_jax.evaluation.model import Embed, Judge, Subject
from faceshifter_jax.evaluation.presentation import DEGREE, DOWN, SHARE, Headline, Metric, Table
from faceshifter_jax.evaluation.processes import in_shares
from faceshifter_jax.evaluation.protocols.options import OF_CHECKPOINT
from faceshifter_jax.evaluation.report.figures import inside_figure, judged_cosines, margin_rows
from faceshifter_jax.faces.alignment import align
from faceshifter_jax.faces.face import Detector
from faceshifter_jax.faces.finder import build_detector
from faceshifter_jax.faces.names import DEFAULT_DETECTOR
from faceshifter_jax.inputs import UnreadableFile, read_json
from faceshifter_jax.media.video_frames import read_frames
from faceshifter_jax.runtime.distributed import is_first_process, together
from faceshifter_jax.runtime.progress import Progress

_logger = logging.getLogger(__name__)
_LARGEST_LIST = 2**26
NAME = "faceforensics"
VERSION = 1
ALIGNMENT = OF_CHECKPOINT
FRAMES = 10
METRICS = (
    Metric("*_retrieval", SHARE),
    Metric("pose_error", DEGREE, 2, DOWN),
    Metric("expression_error", aim=DOWN),
    Metric("id_cosine_target", digits=3, aim=DOWN),
    Metric("*_cosine_source", digits=3),
)
HEADLINES = (
    Headline("recognised as the source", "id_retrieval"),
    Headline("pose error", "pose_error"),
    Headline("expression error", "expression_error"),
    Headline("cosine to the source", "id_cosine_source"),
)
TABLES = (
    Table(
        "Table 1 of the paper",
        "Retrieval by the judge among all source frames, counted by video; pose and expression as "
        "L2 distances to the target's. Intervals are over pairs of videos.",
        ("swap", "copy of the target"),
        (
            ("source video retrieved", ("id_retrieval", "copy_target_retrieval")),
            ("pose error", ("pose_error", None)),
            ("expression error", ("expression_error", None)),
            ("cosine to the source", ("id_cosine_source", "copy_target_cosine_source")),
            ("cosine to the target", ("id_cosine_target", None)),
        ),
    ),
)

Estimate = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Data:
    """Aligned faces of the videos, and who is swapped into whom.

    Attributes:
      faces: uint8 (F, S, S, 3), of all frames with a face.
      video: int (F,), the video of each.
      names: of the videos.
      source, target: int (B,), rows of `faces`, swap by swap.
      pair: int (B,), the pair of videos of each swap.
      facts: what the data are.
      pose, expression: estimators, None where none was named.
    """

    faces: np.ndarray
    video: np.ndarray
    names: tuple[str, ...]
    source: np.ndarray
    target: np.ndarray
    pair: np.ndarray
    facts: dict[str, Any]
    pose: Estimate | None
    expression: Estimate | None


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises UserError where the folder is not named or a part cannot be read."""
    if not arguments.data:
        raise UserError("the protocol faceforensics needs --data: name a FaceForensics++ folder")
    parse_part(arguments.expression_part)


def parse_part(text: str) -> slice:
    """Reads `80:144` as the part of a vector; an end left out means all from or up to there.

    Raises:
      UserError: another text.
    """
    begin, colon, end = text.partition(":")
    if colon and all(not word or (word.isdecimal() and len(word) < 10) for word in (begin, end)):
        part = slice(int(begin or 0), int(end) if end else None)
        if part.stop is None or part.start < part.stop:
            return part
    raise UserError(f"--expression-part must look like 80:144, not {text!r}")


def prepare(
    arguments: argparse.Namespace,
    image_size: int,
    detector: Detector | None = None,
    alignment: str = "arcface",
) -> Data:
    """Reads the videos of the official pairs and cuts out the largest face of each frame.

    All processes; each reads its share of the videos.

    Args:
      arguments: `data`, `split`, `compression`, `pose`, `expression` and how these are applied.
      image_size: pixels a side of the faces.
      detector: finds faces; None for the default.
      alignment: how they are cut out, a key of `faces.alignment.ALIGNMENTS`.

    Raises:
      UserError: the folder does not exist, a video is missing or corrupt, or none has faces.
    """
    root = Path(arguments.data)
    with together():
        pose = arguments.pose and load_pose(arguments.pose, arguments.pose_range)
        expression = arguments.expression and load_expression(
            arguments.expression, arguments.expression_range, parse_part(arguments.expression_part)
        )
        # Tried first, before an hour goes into the videos.
        for estimate in filter(None, (pose, expression)):
            try_out(estimate)
        pairs = read_pairs(root, arguments.split)
        names = tuple(sorted({name for pair in pairs for name in pair}))
        paths = _find_videos(root, arguments.compression, names)
    faces, places = _read_faces(paths, image_size, detector, alignment)
    source, target, pair = _pair_frames(pairs, names, places)
    if not len(source):
        raise UserError(f"no pair of videos below {root} has faces in the same frames")
    digest = hashlib.sha256(faces.tobytes() + source.tobytes() + target.tobytes())
    return Data(
        faces=faces,
        video=places[:, 0],
        names=names,
        source=source,
        target=target,
        pair=pair,
        facts={
            "pairs": len(pairs),
            "swaps": len(source),
            "videos": len(names),
            "frames_without_face": FRAMES * len(names) - len(places),
            "split": arguments.split,
            "compression": arguments.compression,
            "alignment": alignment,
            "data": str(root),
            "data_sha256": digest.hexdigest(),
            **_describe_estimators(arguments),
        },
        pose=pose or None,
        expression=expression or None,
    )


def _describe_estimators(arguments: argparse.Namespace) -> dict[str, str | None]:
    return {
        "pose_estimator": arguments.pose,
        "expression_estimator": arguments.expression,
        **describe_network("pose", arguments.pose, range=arguments.pose_range),
        **describe_network(
            "expression",
            arguments.expression,
            range=arguments.expression_range,
            part=arguments.expression_part,
        ),
    }


def _find_videos(root: Path, compression: str, names: tuple[str, ...]) -> list[Path]:
    folder = root / "original_sequences" / "youtube" / compression / "videos"
    paths = [folder / f"{name}.mp4" for name in names]
    for path in paths:
        if not path.is_file():
            raise UserError(
                f"the video {path} is missing: download the original sequences of "
                f"FaceForensics++ with compression {compression}, or choose --compression"
            )
    return paths


def read_pairs(root: Path, split: str) -> list[tuple[str, str]]:
    """Reads the official pairs, (target, source) by name: each listed one in both directions.

    Raises:
      UserError: the list does not exist, is invalid, or lists a pair twice or a video with itself.
    """
    path = root / "splits" / f"{split}.json"
    if not path.is_file():
        raise UserError(
            f"{path} is missing: it is the official list of pairs, in the repository of "
            "FaceForensics++ under dataset/splits"
        )
    try:
        listed = read_json(path, _LARGEST_LIST)
    except UnreadableFile:
        listed = None
    if not isinstance(listed, list) or not all(map(_is_pair, listed)):
        raise UserError(f'{path} is not a list of pairs like [["000", "003"], ...]')
    if not listed:
        raise UserError(f"{path} lists no pair of videos")
    seen: set[frozenset[str]] = set()
    for pair in listed:
        if len(set(pair)) < 2 or frozenset(pair) in seen:
            raise UserError(f"{path} lists {pair} twice, or a video with itself: leave it out")
        seen.add(frozenset(pair))
    return [pair for first, second in listed for pair in ((first, second), (second, first))]


def _is_pair(listed: Any) -> bool:
    return (
        isinstance(listed, list)
        and len(listed) == 2
        and all(isinstance(name, str) for name in listed)
    )


def evaluate(data: Data, subject: Subject, judge: Judge) -> Findings:
    """Swaps all frames and scores them."""
    source, target = data.faces[data.source], data.faces[data.target]
    swaps = subject.swap(source, target).last
    by_frame = score(data, swaps, judge.embed)
    estimators = {"pose_error": data.pose, "expression_error": data.expression}
    for name, estimate in estimators.items():
        if estimate is not None:
            estimates = [apply_in_shares(estimate, pictures) for pictures in (swaps, target)]
            by_frame[name] = np.linalg.norm(estimates[0] - estimates[1], axis=1)
    columns = {"source": source, "target": target, "swap": swaps}
    figures = margin_rows(columns, by_frame)
    inside = inside_figure(subject, source, target, swaps)
    return Findings(
        values={name: _by_pair(values, data.pair) for name, values in by_frame.items()},
        figures=[*figures, inside],
        samples=[columns, dict(inside.columns)],
        facts=data.facts,
        missing=[name for name, estimate in estimators.items() if estimate is None],
        distributions={
            **judged_cosines(by_frame),
            **{
                title: {"swap": by_frame[name]}
                for title, name in (
                    ("pose error, degrees", "pose_error"),
                    ("expression error", "expression_error"),
                )
                if name in by_frame
            },
        },
    )


def score(data: Data, swaps: np.ndarray, embed: Embed) -> dict[str, np.ndarray]:
    """Scores the identity of swaps (B, S, S, 3): (B,) float64 each, frame by frame."""
    gallery, swap = embed(data.faces), embed(swaps)
    source, target = gallery[data.source], gallery[data.target]
    right = data.video[data.source][:, None] == data.video
    values = {
        "id_retrieval": retrieval(swap, gallery, right),
        "copy_target_retrieval": retrieval(target, gallery, right),
        "id_cosine_source": np.sum(swap * source, -1),
        "id_cosine_target": np.sum(swap * target, -1),
        "copy_target_cosine_source": np.sum(target * source, -1),
    }
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def _by_pair(values: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """Means over the frames of each pair of videos, which are too alike to count one by one."""
    return np.bincount(pair, values) / np.bincount(pair)


def _read_faces(
    paths: list[Path], size: int, detector: Detector | None, alignment: str
) -> tuple[np.ndarray, np.ndarray]:
    """Aligned faces (F, S, S, 3), and the video and frame of each, int (F, 2); all processes."""
    found = in_shares(
        lambda share: _find_faces(paths, share, size, detector, alignment), len(paths)
    )
    faces, places = found["faces"], found["places"]
    if not len(faces):
        raise UserError(f"no face was found in any of the {len(paths)} videos")
    if is_first_process():
        there = set(map(tuple, places.tolist()))
        for video, frame in product(range(len(paths)), range(FRAMES)):
            if (video, frame) not in there:
                _logger.info(
                    "left out: no face in frame %d of %d of %s", frame + 1, FRAMES, paths[video]
                )
    return faces, places


def _find_faces(
    paths: list[Path], share: np.ndarray, size: int, detector: Detector | None, alignment: str
) -> dict[str, np.ndarray]:
    """As `_read_faces` for some videos, as `faces` and `places`; there may be none."""
    faces, places = [], []
    stream = None if is_first_process() else io.StringIO()
    progress = Progress("reading videos", FRAMES * len(share), stream, unit="frames")
    for video in share:
        frames = read_frames(paths[video], FRAMES)
        if detector is None:
            # Loaded late: the first video may be unreadable.
            detector = build_detector(DEFAULT_DETECTOR)
        for number, frame in enumerate(frames):
            progress.advance()
            found = detector.detect(frame)
            if found:
                face = max(found, key=lambda face: face.area)
                faces.append(align(frame, face.landmarks, size, alignment))
                places.append((video, number))
    progress.finish()
    return {
        "faces": np.array(faces, np.uint8).reshape(-1, size, size, 3),
        "places": np.array(places, np.int64).reshape(-1, 2),
    }


def _pair_frames(
    pairs: list[tuple[str, str]], names: tuple[str, ...], places: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of sources and targets, and the pair of each; frames without a face have none."""
    rows = {tuple(place): row for row, place in enumerate(places.tolist())}
    found, used = [], 0
    for target, source in pairs:
        videos = names.index(source), names.index(target)
        both = [[rows.get((video, frame)) for video in videos] for frame in range(FRAMES)]
        whole = [(*pair, used) for pair in both if None not in pair]
        found += whole
        used += bool(whole)
    sources, targets, pair = np.array(found, np.int64).reshape(-1, 3).T
    return sources, targets, pair
