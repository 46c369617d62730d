"""Videos of rendered faces before a plain wall, with a tone as sound."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from wall_faces import WallDetector

from faceshifter_jax.swapping.swapper import Swapper

RATE = 25
SAMPLE_RATE = 44100


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    turns: int = 0,
    sound: str | None = "aac",
) -> Path:
    """Writes pictures, uint8 (H, W, 3), at RATE, or at `times` in milliseconds."""
    out = av.open(str(path), "w")
    stream = out.add_stream(codec, rate=RATE)
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = pix_fmt
    stream.codec_context.time_base = Fraction(1, 1000)
    if codec == "libx264":
        stream.options = {"crf": "12"}
    if turns:
        stream.set_display_rotation(90 * turns)
    tone = out.add_stream(sound, rate=SAMPLE_RATE, layout="mono") if sound else None
    times = list(times or range(0, 1000 * len(pictures) // RATE, 1000 // RATE))
    for picture, time in zip(pictures, times, strict=True):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = time, Fraction(1, 1000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
    if tone:
        samples = np.arange(round(SAMPLE_RATE * (times[-1] / 1000 + 1 / RATE)))
        wave = (0.3 * np.sin(2 * np.pi * 440 * samples / SAMPLE_RATE)).astype(np.float32)
        for begin in range(0, len(wave), 1024):
            block = wave[None, begin : begin + 1024]
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, begin
            out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    out.close()
    return path


def read_pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def read_sound(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(audio=0)
            if packet.size
        ]


def build_swapper(network: Callable | None = None, size: int = 64, **options) -> Swapper:
    """A swapper of such faces; without a network, targets stay as they are."""
    network = network or (lambda sources, targets: targets)
    return Swapper(network, size, WallDetector(), **options)
