"""Videos whose clocks begin late, wrap, go back, or count something else than what is shown."""

import functools
from fractions import Fraction

import numpy as np
import pytest
from film_files import RATE, Sound, read_film, write_film
from rendered_videos import build_swapper, read_pictures
from wall_faces import WALL, face_square, scene

from faceshifter_jax.media.video_reader import open_video
from faceshifter_jax.swapping.assignment import OneSource
from faceshifter_jax.swapping.video.swap_video import VideoSettings, swap_video

ALL = OneSource(np.zeros((64, 64, 3), np.uint8), "all")
# Broadcast clocks count 1/90000 s with 33 bits.
WRAP = 2**33 / 90_000
# What the muxer of transport streams adds.
TS_DELAY = 1.4
COUNT = 30
SOUND = Sound(seconds=COUNT / RATE)


@functools.cache
def pictures(count=COUNT):
    """A face that moves to the right: where it is says which picture it is."""
    face = face_square(1, 48)
    return tuple(scene([(face, i, 8)], (112, 64)) for i in range(count))


def swapped(source, name="out.mp4", **settings):
    output = source.parent / name
    swap_video(build_swapper(), ALL, source, output, settings=VideoSettings(**settings))
    return output


def assert_regular(times, start=0.0, step=1 / RATE, slack=0.0011):
    np.testing.assert_allclose(times, start + step * np.arange(len(times)), atol=slack)


def numbers_of(path):
    """Which of `pictures` each picture of a film is, by the face's left edge."""
    found = []
    for picture in read_pictures(path):
        face = (np.abs(picture[12:50].astype(int) - WALL).max(-1) > 60).sum(0) > 4
        found.append(int(np.flatnonzero(face)[0]))
    return np.array(found) - found[0]


@pytest.mark.parametrize(
    ("offset", "name"),
    [
        (0, "out.mp4"),
        (72_000, "out.mp4"),
        (72_000, "out.mkv"),
        (WRAP - TS_DELAY - 0.5, "out.mp4"),
        (WRAP - 0.5, "out.mkv"),
    ],
)
def test_a_broadcast_recording_begins_at_0(tmp_path, offset, name):
    source = write_film(
        tmp_path / "a.ts",
        pictures(),
        sounds=[SOUND],
        b_frames=2,
        options={"output_ts_offset": str(offset)},
    )
    film = read_film(swapped(source, name))
    assert len(film.pictures) == COUNT
    # AAC's first packet is there for its decoder, 1024 samples before the picture.
    assert film.others["audio"][0] == pytest.approx(0, abs=0.002)
    assert_regular(film.pictures, start=1024 / 48_000)
    assert film.seconds == pytest.approx(COUNT / RATE, abs=0.05)


def joined(folder, *parts):
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(
    ("offsets", "sounds"),
    [
        ((72_000, 72_000), ()),
        ((72_000, 72_000), (SOUND,)),
        ((72_000, 0), (SOUND,)),
        ((0, 72_000), (SOUND, Sound("mp2", start=0.3, seconds=0.5))),
    ],
)
def test_joined_recordings_go_on(tmp_path, offsets, sounds):
    parts = [
        write_film(
            tmp_path / f"{number}.ts",
            pictures(),
            sounds=sounds,
            b_frames=2,
            options={"output_ts_offset": str(offset)},
        )
        for number, offset in enumerate(offsets)
    ]
    film = read_film(swapped(joined(tmp_path, *parts)))
    assert len(film.pictures) == 2 * COUNT
    first, second = film.pictures[:COUNT], film.pictures[COUNT:]
    assert_regular(first, start=first[0])
    assert_regular(second, start=second[0])
    assert 0.03 < second[0] - first[-1] < 0.1
    assert film.seconds == pytest.approx(2 * COUNT / RATE, abs=0.12)
    # The second recording's sounds are as far from its pictures as the first one's.
    for times in film.others.values():
        middle = len(times) // 2
        if len(sounds):
            assert times[middle] - second[0] == pytest.approx(times[0] - first[0], abs=0.002)
            assert np.diff(times).min() > 0


def test_joined_program_streams_go_on(tmp_path):
    parts = [
        write_film(
            tmp_path / f"{number}.mpg",
            pictures(),
            sounds=[Sound("mp2", seconds=COUNT / RATE)],
            codec="mpeg2video",
            unit=Fraction(1, RATE),
            options={"output_ts_offset": str(offset)},
        )
        for number, offset in enumerate((72_000, 10))
    ]
    film = read_film(swapped(joined(tmp_path, *parts)))
    assert len(film.pictures) == 2 * COUNT
    assert 0.039 < np.diff(film.pictures).min() <= np.diff(film.pictures).max() < 0.1
    assert film.seconds == pytest.approx(2 * COUNT / RATE, abs=0.12)


@pytest.mark.parametrize("offsets", [(50_000, 0), (0, 50_000), (0, 0)])
@pytest.mark.parametrize("loud", [0, 1])
def test_a_recording_with_sound_and_one_without_are_joined(tmp_path, offsets, loud):
    parts = [
        write_film(
            tmp_path / f"{number}.ts",
            pictures(20),
            sounds=[Sound(seconds=0.8)] if number == loud else [],
            b_frames=2,
            options={"output_ts_offset": str(offset)},
        )
        for number, offset in enumerate(offsets)
    ]
    film = read_film(swapped(joined(tmp_path, *parts)))
    assert len(film.pictures) == 40
    assert film.seconds == pytest.approx(1.6, abs=0.08)
    start = film.pictures[20 * loud]
    assert film.others["audio"][0] - start == pytest.approx(-1024 / 48_000, abs=0.002)


def test_three_recordings_without_sound_are_as_long_as_their_pictures(tmp_path):
    part = write_film(tmp_path / "a.ts", pictures(20), b_frames=2)
    film = read_film(swapped(joined(tmp_path, part, part, part)))
    assert_regular(film.pictures)
    assert len(film.pictures) == 60
    assert film.seconds == pytest.approx(60 / RATE, abs=0.002)


@pytest.mark.parametrize(("codec", "b_frames"), [("libx264", 0), ("libx264", 2), ("mpeg4", 2)])
def test_pictures_of_avi_are_on_time(tmp_path, codec, b_frames):
    source = write_film(
        tmp_path / "a.avi",
        pictures(),
        codec=codec,
        b_frames=b_frames,
        unit=Fraction(1, RATE),
        sounds=[Sound("pcm_s16le")],
    )
    output = swapped(source, "out.mkv", crf=0)
    film = read_film(output)
    assert_regular(film.pictures)
    np.testing.assert_allclose(numbers_of(output), np.arange(COUNT), atol=1)
    assert film.others["audio"][0] == pytest.approx(0, abs=0.002)


def test_an_avi_that_begins_between_key_pictures_loses_no_more_than_them(tmp_path):
    """Its first pictures cannot be decoded: those after them stay where they were."""
    whole = write_film(
        tmp_path / "whole.avi",
        pictures(),
        b_frames=2,
        unit=Fraction(1, RATE),
        codec_options={"x264-params": "keyint=10:scenecut=0:open-gop=0"},
    )
    cut = without_first_packets(whole, tmp_path / "cut.avi", 4)
    film = read_film(swapped(cut))
    # Six packets are left of the first ten, of which nothing can be decoded.
    assert len(film.pictures) == COUNT - 10
    assert_regular(film.pictures, start=film.pictures[0])
    assert film.pictures[0] == pytest.approx(6 / RATE, abs=0.001)


def without_first_packets(source, target, count):
    import av

    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for number, packet in enumerate(old.demux(video=0)):
            if packet.size and number >= count:
                packet.dts -= count
                packet.pts, packet.stream = packet.dts, stream
                new.mux(packet)
    return target


@pytest.mark.parametrize(
    ("suffix", "output", "video", "audio"),
    [
        (".mp4", "out.mp4", 3.0, 0.0),
        (".mp4", "out.mkv", 3.0, 3.5),
        (".mkv", "out.mp4", 3.0, 2.0),
        (".mkv", "out.mkv", 0.0, 1.5),
        (".mov", "out.mp4", 0.0, 1.5),
        (".ts", "out.mp4", 3.0, 2.0),
        (".ts", "out.mkv", 3.0, 3.5),
        (".flv", "out.mp4", 3.0, 0.0),
    ],
)
def test_streams_that_begin_late_do_so_in_the_output(tmp_path, suffix, output, video, audio):
    source = write_film(
        tmp_path / f"a{suffix}",
        pictures(),
        times=[video + i / RATE for i in range(COUNT)],
        sounds=[Sound(start=audio, seconds=3)],
        b_frames=1,
    )
    film = read_film(swapped(source, output))
    assert len(film.pictures) == COUNT
    start = film.pictures[0]
    assert_regular(film.pictures, start=start)
    heard = next(time for time in film.others["audio"] if time > film.others["audio"][0])
    assert heard - start == pytest.approx(audio - video, abs=0.003)
    assert min(start, heard) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("suffix", [".flv", ".ts", ".mkv"])
def test_sound_that_comes_after_a_long_while_is_kept(tmp_path, suffix):
    times = [i / 2 for i in range(30)]
    source = write_film(
        tmp_path / f"a{suffix}", pictures(30), times=times, sounds=[Sound(start=12, seconds=2)]
    )
    film = read_film(swapped(source))
    assert_regular(film.pictures, step=0.5)
    assert film.others["audio"][1] == pytest.approx(12, abs=0.01)
    assert len(film.others["audio"]) > 90


@pytest.mark.parametrize(
    ("suffix", "name"),
    [(".mp4", "out.mkv"), (".mkv", "out.mp4"), (".ts", "out.mp4"), (".ts", "out.mkv")],
)
def test_gaps_are_kept(tmp_path, suffix, name):
    times = [i / RATE + (20 if i > 20 else 0) for i in range(COUNT)]
    source = write_film(tmp_path / f"a{suffix}", pictures(), times=times, b_frames=2)
    film = read_film(swapped(source, name))
    np.testing.assert_allclose(film.pictures, times, atol=0.0011)


def test_a_cut_edit_list_is_followed(tmp_path):
    """What an editor cut from the beginning is neither seen nor heard."""
    source = write_film(
        tmp_path / "a.mp4",
        pictures(),
        times=[-1 + i / RATE for i in range(COUNT)],
        sounds=[Sound(start=-1, seconds=2)],
    )
    for name in ("out.mp4", "out.mkv"):
        film = read_film(swapped(source, name))
        assert len(film.pictures) == COUNT - RATE
        start = film.pictures[0]
        assert start == pytest.approx(0, abs=0.07)
        assert_regular(film.pictures, start=start)
        assert film.others["audio"][0] > start - 0.07
        assert film.others["audio"][-1] - start == pytest.approx(0.98, abs=0.03)


@pytest.mark.parametrize(
    ("suffix", "sounds"),
    [
        *((suffix, ()) for suffix in (".mp4", ".mkv", ".ts", ".avi")),
        *((suffix, (Sound("mp3", seconds=0.5),)) for suffix in (".mp4", ".ts")),
    ],
)
def test_a_film_of_one_picture(tmp_path, suffix, sounds):
    source = write_film(tmp_path / f"a{suffix}", pictures(1), sounds=sounds, unit=Fraction(1, RATE))
    film = read_film(swapped(source))
    assert film.pictures[0] == pytest.approx(0, abs=0.03)
    assert len(film.pictures) == 1
    assert film.seconds == pytest.approx(0.5 if sounds else 0.04, abs=0.06)


def test_chapters_move_with_the_pictures(tmp_path):
    import av

    plain = write_film(tmp_path / "a.mkv", pictures(), times=[3 + i / RATE for i in range(COUNT)])
    source = tmp_path / "b.mkv"
    with av.open(str(plain)) as old, av.open(str(source), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        unit = Fraction(1, 1000)
        chapters = [(1, 3000, 4000), (2, 4000, 5000)]
        new.set_chapters(
            [
                {"id": i, "start": start, "end": end, "time_base": unit, "metadata": {"title": "x"}}
                for i, start, end in chapters
            ]
        )
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    with av.open(str(swapped(source))) as film:
        starts = [float(c["start"] * c["time_base"]) for c in film.chapters()]
    assert starts == pytest.approx([0, 1], abs=0.001)


def test_seconds_are_seconds_where_a_browser_counts_a_thousand_frames(tmp_path):
    """Half a second without the face ends it; nothing is painted on the wall in between."""
    wall = scene([], (112, 64))
    shown = [*pictures(10), *[wall] * 40, *pictures(10)]
    source = write_film(
        tmp_path / "a.webm",
        shown,
        codec="libvpx",
        codec_options={"deadline": "realtime", "crf": "4", "b": "4M"},
    )
    claim_rate(source, 1000)
    with open_video(source) as video:
        assert video.info.rate == pytest.approx(RATE, rel=0.05)
    output = tmp_path / "out.mp4"
    swapper = build_swapper(lambda sources, targets: 255 - targets)
    swap_video(swapper, ALL, source, output, settings=VideoSettings(crf=0))
    empty = read_pictures(output)[10:50]
    assert max(np.abs(picture.astype(int) - wall).max() for picture in empty) < 40
    film = read_film(output)
    assert_regular(film.pictures)
    assert film.seconds == pytest.approx(60 / RATE, abs=0.005)


def claim_rate(path, rate):
    """Writes another duration of a frame into a Matroska file (element 23E383, nanoseconds)."""
    content = path.read_bytes()
    place = content.index(b"\x23\xe3\x83\x84")
    value = round(1e9 / rate).to_bytes(4, "big")
    path.write_bytes(content[: place + 4] + value + content[place + 8 :])


def test_a_face_that_is_gone_for_a_slide_is_not_painted_on_it(tmp_path):
    wall = scene([], (112, 64))
    shown = [pictures()[3], wall, pictures()[4], pictures()[5]]
    source = write_film(tmp_path / "a.mkv", shown, times=[0, 5, 10, 15])
    output = tmp_path / "out.mkv"
    swapper = build_swapper(lambda sources, targets: 255 - targets)
    swap_video(swapper, ALL, source, output, settings=VideoSettings(crf=0))
    empty = read_pictures(output)[1]
    assert np.abs(empty.astype(int) - wall).max() < 40
    assert read_film(output).seconds == pytest.approx(20, abs=0.05)
