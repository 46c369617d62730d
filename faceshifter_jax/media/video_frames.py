"""Evenly spaced frames of a video file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.video_container import choose_stream, load_av, open_container
from faceshifter_jax.media.video_pixels import to_rgb


def read_frames(path: Path, number: int) -> list[np.ndarray]:
    """Reads the middle frames of `number` equally long parts of a video.

    Of N frames these are floor((k + 1/2) N / number), k from 0. The whole video is decoded, as
    containers do not always say truly how many frames they hold.

    Returns:
      uint8 (H, W, 3) each, RGB.

    Raises:
      UserError: PyAV is missing, no such file, fewer frames than `number`, or one that is corrupt.
    """
    total = sum(1 for _ in _decode(path))
    if total < number:
        raise UserError(f"{path} has {total} frames, {number} are needed: use a longer video")
    wanted = {int((k + 0.5) * total / number) for k in range(number)}
    return [to_rgb(frame, 0) for index, frame in enumerate(_decode(path)) if index in wanted]


def _decode(path: Path) -> Iterator[Any]:
    av = load_av()
    count = 0
    try:
        with open_container(path) as container:
            stream = choose_stream(path, container)
            # By default FFmpeg paints over what it cannot decode.
            stream.codec_context.options = {"err_detect": "explode"}
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise _corrupt(path, count, "it is marked as corrupt")
                yield frame
                count += 1
    except (av.FFmpegError, OSError) as error:
        raise _corrupt(path, count, " ".join(str(error).split())) from error


def _corrupt(path: Path, frame: int, reason: str) -> UserError:
    return UserError(
        f"cannot read frame {frame + 1} of the video {path} ({reason}): get the file again"
    )
