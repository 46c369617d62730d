"""Small films of any container, with the clocks, streams and colours that people's films have."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 25
MILLISECOND = Fraction(1, 1000)
# Of formats of samples, without the "p" of those that are kept channel by channel.
_SAMPLES = {"flt": (np.float32, 1), "s16": (np.int16, 2**15), "s32": (np.int32, 2**31)}
_FRAME_SAMPLES = 960


@dataclass(frozen=True)
class Sound:
    """A tone: its codec, and when it begins and for how long it lasts, in seconds."""

    codec: str = "aac"
    start: float = 0.0
    seconds: float = 2.0
    layout: str = "mono"
    rate: int = 48000


def write_film(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    times: Sequence[float] | None = None,
    sounds: Sequence[Sound] = (),
    subtitles: Sequence[tuple[float, float, str]] = (),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    b_frames: int = 0,
    unit: Fraction = MILLISECOND,
    format: str | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    tags: dict[str, int] | None = None,
) -> Path:
    """Writes pictures, uint8 (H, W, 3), at `times` in seconds (RATE), in a container.

    Args:
      path: its suffix says the container, unless `format` does.
      pictures: all of one size.
      times: of the pictures, increasing.
      sounds: streams of sound.
      subtitles: (start, end, text), SubRip; none makes no such stream.
      codec, pix_fmt, b_frames, unit, codec_options: of the pictures; `unit` of their time stamps.
      format, options: of the container, such as `output_ts_offset`.
      tags: of the colours, such as `colorspace`.
    """
    out = av.open(f"file:{path}", "w", format=format, options=options or {})
    stream = out.add_stream(codec, rate=RATE, options=codec_options or {})
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = pix_fmt
    stream.codec_context.time_base = unit
    stream.codec_context.max_b_frames = b_frames
    for name, value in (tags or {}).items():
        setattr(stream.codec_context, name, value)
    voices = [(sound, _add_sound(out, sound)) for sound in sounds]
    words = out.add_mux_stream("subrip") if subtitles else None
    times = [i / RATE for i in range(len(pictures))] if times is None else list(times)
    packets = _encode_pictures(stream, pictures, times, unit, pix_fmt, tags or {})
    for sound, voice in voices:
        packets += _encode_sound(voice, sound)
    if words is not None:
        words.time_base = MILLISECOND
        packets += [_subtitle(words, *line) for line in subtitles]
    for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
        out.mux(packet)
    out.close()
    return path


def _add_sound(out: Any, sound: Sound) -> Any:
    return out.add_stream(sound.codec, rate=sound.rate, layout=sound.layout)


def _encode_pictures(stream, pictures, times, unit, pix_fmt, tags) -> list:
    packets = []
    for picture, time in zip(pictures, times, strict=True):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        if "colorspace" in tags:
            frame = frame.reformat(
                format=pix_fmt,
                dst_colorspace=tags["colorspace"] or None,
                dst_color_range=tags.get("color_range"),
            )
        frame.pts, frame.time_base = round(Fraction(time).limit_denominator(10**6) / unit), unit
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _encode_sound(voice: Any, sound: Sound) -> list:
    count = round(sound.rate * sound.seconds)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(count) / sound.rate)
    kind = voice.codec_context.format.name
    dtype, loudest = _SAMPLES[kind.removesuffix("p")]
    channels = voice.layout.nb_channels
    packets = []
    for begin in range(0, count, _FRAME_SAMPLES):
        block = tone[begin : begin + _FRAME_SAMPLES]
        block = np.stack([(loudest * block).astype(dtype)] * channels)
        if not kind.endswith("p"):
            block = block.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block), format=kind, layout=sound.layout
        )
        frame.sample_rate, frame.time_base = sound.rate, Fraction(1, sound.rate)
        frame.pts = begin + round(sound.start * sound.rate)
        packets += voice.encode(frame)
    return packets + voice.encode(None)


def _subtitle(stream: Any, start: float, end: float, text: str) -> Any:
    packet = av.Packet(text.encode())
    packet.stream, packet.time_base = stream, MILLISECOND
    packet.pts = packet.dts = round(1000 * start)
    packet.duration = round(1000 * (end - start))
    return packet


@dataclass(frozen=True)
class Times:
    """What a player sees of a film: seconds of pictures, and of packets of other streams."""

    pictures: list[float]
    others: dict[str, list[float]]
    seconds: float


def read_film(path: Path) -> Times:
    """Reads the times of a film's pictures, and of each other stream, "audio", "audio 2", ..."""
    with av.open(f"file:{path}") as container:
        pictures = [float(f.pts * f.time_base) for f in container.decode(video=0)]
        seconds = container.duration / 1e6
    others: dict[str, list[float]] = {}
    with av.open(f"file:{path}") as container:
        names: dict[int, str] = {}
        for packet in container.demux():
            if packet.stream.type == "video":
                continue
            index = packet.stream.index
            if index not in names:
                number = 1 + sum(n.startswith(packet.stream.type) for n in names.values())
                names[index] = packet.stream.type + (f" {number}" if number > 1 else "")
            times = others.setdefault(names[index], [])
            if packet.size:
                times.append(float(packet.pts * packet.time_base))
    return Times(pictures, others, seconds)
