"""What a film holds besides its pictures' shapes: sound, subtitles, colours, fields."""

import os
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
import small_disks
from film_files import RATE, Sound, read_film, write_film
from rendered_videos import build_swapper, read_pictures, read_sound
from test_video_clocks import ALL, joined, pictures
from wall_faces import face_square, scene

from faceshifter_jax.errors import UserError
from faceshifter_jax.swapping.video.swap_video import VideoSettings, swap_video

COUNT = 10
SECONDS = COUNT / RATE
LOSSLESS = VideoSettings(crf=0)


def swap(source, name, **settings):
    output = source.parent / name
    notes = swap_video(build_swapper(), ALL, source, output, settings=VideoSettings(**settings))
    return output, notes


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mov"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_sound_without_a_layout_is_kept_to_the_byte(tmp_path, suffix, name):
    sound = Sound("pcm_s16le", seconds=SECONDS, layout="stereo")
    source = write_film(tmp_path / f"a{suffix}", pictures(COUNT), sounds=[sound])
    output, notes = swap(source, name)
    before, after = read_sound(source), read_sound(output)
    assert b"".join(data for _, data in before) == b"".join(data for _, data in after)
    assert notes == []


@pytest.mark.parametrize(("codec", "rate"), [("libopus", 48000), ("flac", 44100)])
def test_sound_that_does_not_fit_is_refused_before_the_first_frame(tmp_path, codec, rate):
    sound = Sound(codec, seconds=SECONDS, rate=rate)
    source = write_film(tmp_path / "a.mkv", pictures(COUNT), sounds=[sound])
    swapper = build_swapper()
    with pytest.raises(UserError, match=r"\.mov cannot hold the sound .*write an \.mkv$"):
        swap_video(swapper, ALL, source, tmp_path / "out.mov")
    assert swapper.finder.detector.calls == 0
    assert os.listdir(tmp_path) == ["a.mkv"]
    output, _ = swap(source, "out.mkv")
    assert [data for _, data in read_sound(output)] == [data for _, data in read_sound(source)]


def test_sound_that_changes_in_the_middle_is_tried_to_its_end(tmp_path):
    """The header would be written, and the first packets: what fits is known before the work."""
    parts = [
        write_film(tmp_path / f"{rate}.ts", pictures(COUNT), sounds=[Sound(seconds=1, rate=rate)])
        for rate in (48000, 44100)
    ]
    source = joined(tmp_path, *parts)
    swapper = build_swapper()
    try:
        swap_video(swapper, ALL, source, tmp_path / "out.mp4")
    except UserError as error:
        assert "cannot hold the sound" in str(error)  # noqa: PT017
        assert swapper.finder.detector.calls == 0
    else:
        assert len(read_film(tmp_path / "out.mp4").pictures) == 2 * COUNT


@pytest.mark.parametrize(
    ("codec", "suffix"), [("eac3", ".flv"), ("libopus", ".flv"), ("flac", ".flv"), ("alac", ".mkv")]
)
def test_the_last_sound_is_kept_where_nothing_says_how_long_it_lasts(tmp_path, codec, suffix):
    sound = Sound(codec, seconds=SECONDS, layout="stereo")
    source = write_film(tmp_path / f"a{suffix}", pictures(COUNT), sounds=[sound])
    before, after = read_sound(source), read_sound(swap(source, "out.mp4")[0])
    assert [data for _, data in after] == [data for _, data in before]
    assert abs(after[-1][0] - before[-1][0]) < 0.001


def test_what_fails_at_the_very_end_keeps_the_parts(tmp_path):
    source = write_film(tmp_path / "a.mkv", pictures(COUNT))
    output = tmp_path / "out.mp4"

    def meanwhile(sources, targets):
        output.write_bytes(b"of somebody else")
        return targets

    with pytest.raises(UserError, match=r"out\.mp4 exists"):
        swap_video(build_swapper(meanwhile), ALL, source, output)
    assert output.read_bytes() == b"of somebody else"
    swapper = build_swapper(lambda sources, targets: pytest.fail("a part was made again"))
    swap_video(swapper, ALL, source, output, overwrite=True)
    assert swapper.finder.detector.calls == 0
    assert len(read_pictures(output)) == COUNT
    assert sorted(os.listdir(tmp_path)) == ["a.mkv", "out.mp4"]


def test_subtitles_are_kept_or_it_is_said(tmp_path):
    lines = [(0.0, 0.2, "one"), (0.2, 0.4, "two"), (0.2, 0.4, "at the same time")]
    source = write_film(tmp_path / "a.mkv", pictures(COUNT), subtitles=lines)
    output, notes = swap(source, "out.mkv")
    assert notes == []
    with av.open(str(output)) as film:
        packets = [packet for packet in film.demux(subtitles=0) if packet.size]
        assert [(p.pts, p.duration, bytes(p).decode()) for p in packets] == [
            (round(1000 * start), round(1000 * (end - start)), text) for start, end, text in lines
        ]
    _, notes = swap(source, "out.mp4")
    assert notes == ["left out: subtitle (srt)"]


def test_several_sounds_stay_in_step(tmp_path):
    sounds = [Sound(seconds=1), Sound("mp2", start=0.2, seconds=1), Sound("ac3", seconds=0.5)]
    source = write_film(tmp_path / "a.ts", pictures(COUNT), sounds=sounds, b_frames=2)
    before, after = read_film(source), read_film(swap(source, "out.mp4")[0])
    shift = before.pictures[0] - after.pictures[0]
    for name in ("audio", "audio 2", "audio 3"):
        np.testing.assert_allclose(
            np.array(before.others[name]) - shift, after.others[name], atol=0.001
        )


FULL = {"color_range": 2}
COLOURS = [
    ("libx264rgb", "rgb24", ".mp4", {}, 1),
    ("png", "rgb24", ".mov", {}, 1),
    ("ffv1", "bgr0", ".mkv", {}, 1),
    ("qtrle", "rgb24", ".mov", {}, 1),
    ("ffv1", "gbrp10le", ".mkv", {}, 1),
    ("libx264", "yuv420p", ".mp4", {"colorspace": 1, "color_range": 1}, 1),
    ("libx264", "yuv420p", ".mp4", {"colorspace": 5, "color_range": 2}, 5),
    ("libx264", "yuv444p", ".mkv", {"colorspace": 9, "color_range": 1}, 9),
    ("ffv1", "gray", ".mkv", {}, 2),
]


@pytest.mark.parametrize(("codec", "pix_fmt", "suffix", "tags", "matrix"), COLOURS)
def test_colours_are_what_the_output_says(tmp_path, codec, pix_fmt, suffix, tags, matrix):
    shown = [scene([(face_square(1, 48), i, 8)], (112, 64), wall=(20, 150, 60)) for i in range(4)]
    source = write_film(
        tmp_path / f"a{suffix}",
        shown,
        codec=codec,
        pix_fmt=pix_fmt,
        tags=tags,
        codec_options={"crf": "1"} if "264" in codec else {},
        unit=Fraction(1, RATE),
    )
    expected = read_pictures(source)
    output = tmp_path / "out.mkv"
    swapper = build_swapper(lambda sources, targets: targets)
    if pix_fmt == "gray":
        swapper.finder.detector.detect = lambda picture: []
        with pytest.raises(UserError, match="no face was found"):
            swap_video(swapper, ALL, source, output, settings=LOSSLESS)
        return
    swap_video(swapper, ALL, source, output, settings=LOSSLESS)
    with av.open(str(output)) as film:
        frame = next(film.decode(video=0))
        assert frame.colorspace in {matrix, 6 if matrix == 5 else matrix}
        assert frame.colorspace != 0
    for old, new in zip(expected, read_pictures(output), strict=True):
        # The wall, where colours at half the resolution do not matter.
        np.testing.assert_allclose(old[:, 80:].astype(int), new[:, 80:], atol=4)
        assert np.abs(old.astype(int) - new).mean() < 4


def test_colours_that_are_drawn_are_those_of_the_rest(tmp_path):
    """A face drawn into RGB comes out in the colours that it was given."""
    shown = [scene([(face_square(1, 48), 20, 8)], (112, 64))] * 3
    paint = np.array([200, 40, 90], np.uint8)
    found = []
    for codec, pix_fmt, suffix in (("png", "rgb24", ".mov"), ("libx264", "yuv444p", ".mkv")):
        source = write_film(
            tmp_path / f"a{suffix}", shown, codec=codec, pix_fmt=pix_fmt, unit=Fraction(1, RATE)
        )
        output = tmp_path / f"out-{codec}.mkv"
        swapper = build_swapper(lambda sources, targets: np.zeros_like(targets) + paint)
        swap_video(swapper, ALL, source, output, settings=LOSSLESS)
        found.append(read_pictures(output)[1].astype(int))
    assert np.ptp(found[0][32, 44]) > 90
    np.testing.assert_allclose(*(picture[24:40, 36:52] for picture in found), atol=8)


@pytest.mark.parametrize(("matrix", "name"), [(8, "YCgCo"), (10, "BT.2020 with"), (14, "ICtCp")])
def test_colours_that_cannot_be_converted_are_refused_in_one_line(tmp_path, matrix, name):
    source = write_film(
        tmp_path / "a.mkv", pictures(COUNT), pix_fmt="yuv444p", tags={"colorspace": matrix}
    )
    with pytest.raises(
        UserError, match=rf"the colours of .*{name}.*convert it to BT\.709"
    ) as error:
        swap(source, "out.mp4")
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["a.mkv"]


def test_colours_that_change_in_the_middle_become_those_of_the_beginning(tmp_path):
    parts = [
        write_film(
            tmp_path / f"{matrix}.ts",
            [scene([(face_square(1, 48), i, 8)], (112, 64), (200, 60, 40)) for i in range(COUNT)],
            tags={"colorspace": matrix, "color_range": 1},
            codec_options={"crf": "1"},
        )
        for matrix in (1, 5)
    ]
    shown = read_pictures(swap(joined(tmp_path, *parts), "out.mp4", crf=1)[0])
    for picture in (shown[0], shown[-1]):
        np.testing.assert_allclose(picture[30, 100], (200, 60, 40), atol=4)


@pytest.mark.parametrize(("params", "order"), [("tff=1", 2), ("bff=1", 3)])
def test_fields_stay_fields_and_it_is_said(tmp_path, params, order):
    source = write_film(tmp_path / "a.mp4", pictures(COUNT), codec_options={"x264-params": params})
    output, notes = swap(source, "out.mp4")
    with av.open(str(output)) as film:
        assert film.streams.video[0].codec_context.field_order == order
        assert all(frame.interlaced_frame for frame in film.decode(video=0))
    assert "interlaced" in notes[0]


def test_transparency_and_hdr_data_are_not_lost_without_a_word(tmp_path):
    transparent = write_film(
        tmp_path / "a.mov", pictures(COUNT), codec="png", pix_fmt="rgba", unit=Fraction(1, RATE)
    )
    assert "without what the video has of transparency" in swap(transparent, "a.mp4")[1][-1]
    mastering = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    hdr = write_film(
        tmp_path / "b.mkv",
        pictures(COUNT),
        codec="libx265",
        pix_fmt="yuv420p10le",
        codec_options={"x265-params": f"log-level=0:master-display={mastering}:max-cll=1000,400"},
        tags={"colorspace": 9, "color_trc": 16, "color_primaries": 9},
    )
    notes = swap(hdr, "b.mp4")[1]
    assert "8 bits a channel of the 10" in notes[0]
    assert "HDR mastering data, HDR light levels" in notes[1]


@pytest.fixture(params=["170k", "300k"])
def small_disk(tmp_path, request):
    """It has room for some of the parts, or for all but not for the result."""
    with small_disks.small_disk(tmp_path, request.param) as path:
        yield path


def test_a_full_disk_is_one_line_and_the_work_goes_on_afterwards(tmp_path, small_disk):
    noise = np.random.default_rng(0)
    face = face_square(1, 48)
    shown = [scene([(face, i, 8)], (112, 64)) for i in range(60)]
    for picture in shown:
        picture[56:] = noise.integers(0, 256, picture[56:].shape)
    source = write_film(tmp_path / "a.mkv", shown)
    settings = VideoSettings(crf=0, frames_a_part=10)
    output = small_disk / "out.mp4"
    with pytest.raises(UserError, match=r"no space is left on the disk.*make room") as error:
        swap_video(build_swapper(), ALL, source, output, settings=settings)
    assert "\n" not in str(error.value)
    assert not output.exists()
    done = len(list(small_disk.glob(".out.mp4.unfinished/part*.mp4")))
    assert 0 < done <= 6
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    frames = []
    swapper = build_swapper(lambda sources, targets: frames.append(len(targets)) or targets)
    swap_video(swapper, ALL, source, output, settings=settings)
    assert sum(frames) == 60 - 10 * done
    assert len(read_pictures(output)) == 60
