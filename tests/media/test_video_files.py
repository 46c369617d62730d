"""Which files are opened as films, which of them are whole, and what damaged ones end in."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from film_files import RATE, Sound, write_film

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.video_container import is_video
from faceshifter_jax.media.video_frames import read_frames
from faceshifter_jax.media.video_reader import open_video

COUNT = 75


def plain(count=COUNT, size=(64, 48)):
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    return [np.roll(still, i, axis=1) for i in range(count)]


def times_of(path):
    with open_video(path) as video:
        return [float(frame.time * video.info.time_base) for frame in video.frames()]


def film(path, count=COUNT, **how):
    if path.suffix == ".avi":
        how["unit"] = Fraction(1, RATE)
    if path.suffix == ".webm":
        how |= {"codec": "libvpx", "codec_options": {"deadline": "realtime"}}
    return write_film(path, plain(count), **how)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile {name}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{name}\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_lists_of_other_files_are_no_films(tmp_path, text, suffix):
    neighbour = film(tmp_path / "neighbour.ts", 5)
    path = tmp_path / f"a{suffix}"
    path.write_text(text.format(name=neighbour.name))
    for read in (times_of, lambda path: read_frames(path, 1)):
        with pytest.raises(UserError, match=r"not a video in any known format") as error:
            read(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["Interview: part 1.mp4", "http:x.mp4", "concat:a|b.mp4", "%d.mp4"]
)
def test_a_name_is_a_name_and_no_address(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "plain.mp4", 5).rename(tmp_path / name)
    assert len(times_of(name)) == 5
    assert len(read_frames(name, 2)) == 2


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        (".vob", {"codec": "mpeg2video", "format": "vob", "unit": Fraction(1, RATE)}),
        (".m2t", {"format": "mpegts"}),
        (".qt", {"format": "mov"}),
        (".M2V", {"codec": "mpeg2video", "format": "mpeg2video", "unit": Fraction(1, RATE)}),
    ],
)
def test_less_common_endings_are_those_of_films(tmp_path, suffix, how):
    path = film(tmp_path / f"a{suffix}", 5, **how)
    assert is_video(path)
    assert len(times_of(path)) == 5


def test_a_name_that_is_not_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    film(tmp_path / "plain.mp4", 5).rename(path)
    assert len(times_of(path)) == 5


SLIDES = [5.0 * i for i in range(4)]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("subtitles.mkv", {"subtitles": [(0, 1, "short"), (2, 30, "long after the end")]}),
        ("late.mkv", {"times": [3 + i / RATE for i in range(COUNT)]}),
        ("late.webm", {"times": [3 + i / RATE for i in range(COUNT)]}),
        ("late.mp4", {"times": [30 + i / RATE for i in range(COUNT)]}),
        ("late.flv", {"times": [3 + i / RATE for i in range(COUNT)]}),
        ("slides.mkv", {"times": SLIDES, "count": 4}),
        ("slides.webm", {"times": SLIDES, "count": 4}),
        ("slides.mp4", {"times": SLIDES, "count": 4}),
        ("slides.flv", {"times": SLIDES, "count": 4}),
        ("slides.avi", {"times": SLIDES, "count": 4}),
        ("sound.mkv", {"sounds": [Sound(seconds=30)]}),
        ("sound.avi", {"sounds": [Sound("pcm_s16le", seconds=30)]}),
        ("silence.mp4", {"sounds": [Sound(seconds=0.5)]}),
        ("last.mkv", {"times": [*(i / RATE for i in range(9)), 40], "count": 10}),
    ],
)
def test_what_is_whole_is_not_called_cut_off(tmp_path, name, how):
    path = film(tmp_path / name, **how)
    expected = how.get("times") or [i / RATE for i in range(COUNT)]
    found = times_of(path)
    np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=0.0011)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi", ".flv", ".mov"])
@pytest.mark.parametrize("sounds", [(), (Sound("mp3", seconds=3),)])
def test_what_is_cut_off_is_told(tmp_path, suffix, sounds):
    path = film(tmp_path / f"a{suffix}", sounds=sounds)
    content = path.read_bytes()
    if suffix in (".mp4", ".mov"):
        content = with_index_in_front(path)
    for share in (0.4, 0.6):
        path.write_bytes(content[: round(share * len(content))])
        with pytest.raises(UserError, match=r"cut off") as error:
            times_of(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        (".flv", {"codec": "flv1"}),
        (".flv", {"sounds": [Sound(seconds=0.8)]}),
        (".mp4", {}),
        (".mp4", {"options": {"movflags": "faststart"}}),
        (".mp4", {"options": {"movflags": "frag_keyframe+empty_moov"}}),
        (".mov", {"sounds": [Sound(seconds=0.8)]}),
        (".wmv", {"codec": "wmv2"}),
    ],
)
def test_videos_joined_as_bytes_are_refused_where_the_second_would_be_lost(tmp_path, suffix, how):
    path = film(tmp_path / f"a{suffix}", 20, **how)
    assert len(times_of(path)) == 20
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(UserError, match=r"several videos one after the other[^\n]*$"):
        times_of(path)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".mpg", ".ts", ".m2v"])
def test_videos_joined_as_bytes_go_on_where_all_of_them_are_read(tmp_path, suffix):
    how = {".mpg": {"codec": "mpeg2video"}, ".m2v": {"codec": "mpeg2video"}}.get(suffix, {})
    if how:
        how["unit"] = Fraction(1, RATE)
    path = film(tmp_path / f"a{suffix}", 20, **how)
    path.write_bytes(2 * path.read_bytes())
    np.testing.assert_allclose(times_of(path), np.arange(40) / RATE, atol=0.0011)


def with_index_in_front(path):
    front = path.with_name(f"front{path.suffix}")
    options = {"movflags": "faststart"}
    with av.open(str(path)) as old, av.open(str(front), "w", options=options) as new:
        streams = {s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams}
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return front.read_bytes()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".flv", ".webm", ".mov"])
def test_damaged_films_are_read_or_end_in_one_line(tmp_path, suffix):
    codec = "libopus" if suffix == ".webm" else "mp3"
    path = film(tmp_path / f"a{suffix}", 20, sounds=[Sound(codec, seconds=0.8)])
    content = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(1)
    for _ in range(25):
        damaged = content.copy()
        kind = rng.integers(3)
        # Half of the damage hits the header.
        reach = len(damaged) if rng.integers(2) else min(len(damaged), 2000)
        if kind == 0:
            damaged[rng.integers(0, reach, 20)] = rng.integers(0, 256, 20, np.uint8)
        elif kind == 1:
            start = rng.integers(0, reach)
            damaged[start : start + rng.integers(1, 300)] = 0
        else:
            start = rng.integers(0, reach)
            damaged = np.delete(damaged, slice(start, start + rng.integers(1, 300)))
        path.write_bytes(damaged.tobytes())
        try:
            found = times_of(path)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert min(np.diff(found), default=1) > 0


def test_no_stream_of_pictures(tmp_path):
    both = film(tmp_path / "b.mkv", 5, sounds=[Sound(seconds=1)])
    path = tmp_path / "a.mkv"
    with av.open(str(both)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(audio=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    with pytest.raises(UserError, match="no video stream"):
        times_of(path)
