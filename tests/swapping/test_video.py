"""Videos from file to file: what is kept, what is changed, and what bad ones end in."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from rendered_videos import (
    RATE,
    build_swapper,
    read_pictures,
    read_sound,
    read_times,
    write_video,
)
from wall_faces import SIDE, WALL, face_square, scene

from faceshifter_jax import cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.swapping.assignment import ByPerson, OneSource
from faceshifter_jax.swapping.video.swap_video import VideoSettings, swap_video

NOBODY = np.zeros((64, 64, 3), np.uint8)
ALL = OneSource(NOBODY, "all")
LOSSLESS = VideoSettings(crf=0)


def invert(sources, targets):
    return 255 - targets


@functools.cache
def face(seed):
    return face_square(seed)


def walk(count, seed=1, start=10, step=2):
    """A face that moves to the right."""
    return [scene([(face(seed), start + step * i, 30)]) for i in range(count)]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two seconds of a face that moves."""
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4", walk(2 * RATE))


def planes(path):
    """The stored planes of all frames, without a conversion of colours."""
    with av.open(str(path)) as container:
        return [
            [
                np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width].copy()
                for p in frame.planes
            ]
            for frame in container.decode(video=0)
        ]


def test_a_network_that_changes_nothing_leaves_the_video_as_it_is(video, tmp_path):
    swap_video(build_swapper(), ALL, video, tmp_path / "same.mp4", settings=LOSSLESS)
    before, after = planes(video), planes(tmp_path / "same.mp4")
    assert len(before) == len(after) == 2 * RATE
    for old, new in zip(before, after, strict=True):
        for a, b in zip(old, new, strict=True):
            np.testing.assert_array_equal(a, b)
    swap_video(build_swapper(), ALL, video, tmp_path / "usual.mp4")
    for old, new in zip(before, planes(tmp_path / "usual.mp4"), strict=True):
        assert np.abs(old[0].astype(int) - new[0]).mean() < 1


def test_the_face_changes_and_nothing_else(video, tmp_path):
    swap_video(build_swapper(invert), ALL, video, tmp_path / "other.mp4", settings=LOSSLESS)
    for i, (old, new) in enumerate(zip(planes(video), planes(tmp_path / "other.mp4"), strict=True)):
        changed = old[0] != new[0]
        left = 10 + 2 * i
        assert changed[30 + 40 : 30 + 88, left + 44 : left + 84].mean() > 0.9
        changed[20 : 30 + SIDE + 10, max(left - 10, 0) : left + SIDE + 10] = False
        assert not changed.any()


@pytest.mark.parametrize(
    ("source", "output", "how"),
    [
        ("a.mp4", "b.mp4", {}),
        ("a.mkv", "b.mp4", {"times": [40 * i + (13 * i * i) % 37 for i in range(20)]}),
        ("a.mp4", "b.mov", {"turns": 1}),
        ("a.mp4", "b.mkv", {"turns": 2, "sound": None}),
        ("a.avi", "b.mkv", {"codec": "mpeg4", "sound": "mp3"}),
        ("a.avi", "b.mp4", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "sound": "mp3"}),
        ("a.mkv", "b.m4v", {"codec": "libx265", "pix_fmt": "yuv420p10le"}),
    ],
)
def test_times_sound_and_rotation_are_kept(tmp_path, source, output, how):
    turns = how.get("turns", 0)
    pictures = [np.ascontiguousarray(np.rot90(picture, -turns)) for picture in walk(20)]
    source, output = write_video(tmp_path / source, pictures, **how), tmp_path / output
    swap_video(build_swapper(invert), ALL, source, output, settings=VideoSettings(frames_a_part=7))
    assert read_times(output) == read_times(source)
    with av.open(str(source)) as old, av.open(str(output)) as new:
        assert abs(old.duration - new.duration) < 1e6 / RATE
        frames = [next(container.decode(video=0)) for container in (old, new)]
        assert frames[0].rotation == frames[1].rotation
        assert new.streams.video[0].codec_context.name == "h264"
        # The second is what FFmpeg calls the first with the full range of levels.
        assert new.streams.video[0].format.name in ("yuv420p", "yuvj420p")
    if "sound" not in how or how["sound"]:
        before, after = read_sound(source), read_sound(output)
        assert [packet for _, packet in before] == [packet for _, packet in after]
        for (old, _), (new, _) in zip(before, after, strict=True):
            assert abs(old - new) < 0.002
    # Upright, each shows what the straight video does: the face was found and changed.
    for picture, shown in zip(walk(20), read_pictures(output), strict=True):
        upright = np.rot90(shown, turns).astype(int)
        assert np.abs(upright[:20] - picture[:20]).mean() < 4
        eyes = np.abs(upright - picture)[60:100, :].mean(-1)
        assert eyes.max() > 60


def test_odd_sizes_gain_an_edge(tmp_path):
    pictures = [picture[:191, :319] for picture in walk(8)]
    source = write_video(tmp_path / "odd.mkv", pictures, codec="ffv1", pix_fmt="bgr0")
    notes = swap_video(build_swapper(), ALL, source, tmp_path / "even.mp4")
    assert "320x192" in notes[-1]
    for old, new in zip(pictures, read_pictures(tmp_path / "even.mp4"), strict=True):
        assert new.shape == (192, 320, 3)
        assert np.abs(new[:191, :319].astype(int) - old).mean() < 4


def test_frames_without_a_face_pass_and_one_who_comes_is_found_in_time(tmp_path):
    wall = scene([])
    pictures = [wall] * 13 + walk(18) + [wall] * 9
    source = write_video(tmp_path / "visit.mp4", pictures, sound=None)
    for every in (1, 6):
        output = tmp_path / f"every{every}.mp4"
        swapper = build_swapper(invert)
        settings = VideoSettings(crf=0, detect_every=every)
        swap_video(swapper, ALL, source, output, settings=settings)
        if every > 1:
            assert swapper.finder.detector.calls < 28
        touched = [
            bool((a[0] != b[0]).any()) for a, b in zip(planes(source), planes(output), strict=True)
        ]
        assert touched == [False] * 13 + [True] * 18 + [False] * 9


def embed(squares):
    """Embeddings by what the middle of the squares looks like."""
    middle = squares[:, 16:48, 16:48].reshape(len(squares), 8, 4, 8, 4, 3)
    small = middle.mean((2, 4)).reshape(len(squares), -1)
    small = small - small.mean(1, keepdims=True)
    return (small / np.linalg.norm(small, axis=1, keepdims=True)).astype(np.float32)


def test_people_are_followed_through_the_video(tmp_path):
    """Two people cross a cut and change places; the larger part is the first one's."""
    first, second = face(1), face(2)
    pictures = [scene([(first, 10 + i, 40), (second, 170, 20)]) for i in range(12)]
    pictures += [scene([(second, 20, 30), (first, 180, 30)], wall=(230, 30, 120)) for _ in range(8)]
    pictures += [scene([(first, 180, 30)]) for _ in range(6)]
    source = write_video(tmp_path / "two.mp4", pictures, sound=None)
    swapper = build_swapper(lambda sources, targets: sources, embed=embed)
    # The wall is another one after the cut.
    detector = swapper.finder.detector
    detect = detector.detect
    detector.detect = lambda picture: detect(
        np.where(
            (np.abs(picture.astype(int) - (230, 30, 120)).max(-1) < 40)[..., None], WALL, picture
        )
    )
    white = np.full((64, 64, 3), 255, np.uint8)

    def places(assignment):
        swap_video(swapper, assignment, source, tmp_path / "out.mp4", overwrite=True)
        return [
            ["left", "right"][side]
            for picture in (read_pictures(tmp_path / "out.mp4")[i] for i in (2, 10, 15, 23))
            for side in (0, 1)
            if picture[90:110, 160 * side + 60 : 160 * side + 90].min(-1).mean() > 200
        ]

    assert places(OneSource(white)) == ["left", "left", "right", "right"]
    assert places(OneSource(white, "all")) == ["left", "right"] * 3 + ["right"]
    squares = [
        swapper.finder.find(scene([(person, 60, 30)]))[0].square[None] for person in (first, second)
    ]
    second_only = ByPerson(("second",), embed(squares[1]), white[None], threshold=0.95)
    assert places(second_only) == ["right", "right", "left"]
    nobody = ByPerson(("other",), -embed(squares[1]), white[None], threshold=0.95)
    with pytest.raises(UserError, match=r"none of the people to be replaced was found in .*two"):
        swap_video(swapper, nobody, source, tmp_path / "nobody.mp4")
    assert not list(tmp_path.glob(".*"))


def test_the_output_says_what_it_is(tmp_path, capsys):
    video = write_video(tmp_path / "short.mp4", walk(4))
    provenance = Provenance(checkpoint_sha256="ab" * 32, identity_sha256="cd" * 32)
    swapper = build_swapper(invert, provenance=provenance)
    for name in ("a.mp4", "b.mkv", "c.mov"):
        swap_video(swapper, ALL, video, tmp_path / name)
        assert cli.main(["inspect", str(tmp_path / name)]) == 0
        said = capsys.readouterr().out
        assert "compositeWithTrainedAlgorithmicMedia" in said
        assert "ab" * 32 in said
        assert "cd" * 32 in said
    # Other software reads XMP, not our tags.
    content = (tmp_path / "a.mp4").read_bytes()
    at = content.index(bytes.fromhex("be7acfcb97a942e89c71999491e3afac"))
    assert Provenance.from_xmp(content[at + 16 :]) == provenance
    plain = VideoSettings(provenance=False)
    swap_video(swapper, ALL, video, tmp_path / "plain.mp4", settings=plain)
    cli.main(["inspect", str(tmp_path / "plain.mp4")])
    assert "no statement" in capsys.readouterr().out


KILLED = """
import os, signal, sys
sys.path[:0] = [{tests!r}, {here!r}]
from rendered_videos import build_swapper
from test_video import ALL, invert, resumed_settings
from faceshifter_jax.swapping.video.swap_video import swap_video

left = [int(sys.argv[3])]
def count_down(result):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

if sys.argv[4] == "swap":
    swapper = build_swapper(lambda sources, targets: count_down(invert(sources, targets)))
else:
    swapper = build_swapper(invert)
    detect = swapper.finder.detector.detect
    swapper.finder.detector.detect = lambda picture: count_down(detect(picture))
swap_video(swapper, ALL, sys.argv[1], sys.argv[2], settings=resumed_settings())
"""


def resumed_settings():
    return VideoSettings(frames_a_part=8, detect_every=3)


def test_a_killed_run_goes_on(video, tmp_path):
    straight = tmp_path / "straight.mp4"
    swap_video(build_swapper(invert), ALL, video, straight, settings=resumed_settings())
    here = Path(__file__).parent
    code = KILLED.format(tests=str(here.parent), here=str(here))
    output = tmp_path / "killed.mp4"
    for after, where in ((7, "detect"), (21, "swap")):
        command = [sys.executable, "-c", code, str(video), str(output), str(after), where]
        assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
        assert not output.exists()
        assert (tmp_path / ".killed.mp4.unfinished/faces.jsonl").exists()
    calls = []
    swapper = build_swapper(lambda s, t: calls.append(len(s)) or invert(s, t))
    swap_video(swapper, ALL, video, output, settings=resumed_settings())
    assert swapper.finder.detector.calls == 0
    assert sum(calls) == 2 * RATE - 16
    assert output.read_bytes() == straight.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["killed.mp4", "straight.mp4"]


def test_what_other_settings_left_is_not_used(video, tmp_path):
    output = tmp_path / "out.mp4"

    def interrupt(sources, targets):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swap_video(build_swapper(interrupt), ALL, video, output)
    assert not output.exists()
    swapper = build_swapper()
    swap_video(swapper, ALL, video, output, settings=VideoSettings(detect_every=5))
    assert swapper.finder.detector.calls > 0
    assert os.listdir(tmp_path) == ["out.mp4"]


def make_bad_videos(folder, video):
    content = video.read_bytes()
    (folder / "text.mp4").write_text("hello, this is no video at all\n" * 50)
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    mkv = write_video(folder / "whole.mkv", walk(4 * RATE)).read_bytes()
    (folder / "cut.mkv").write_bytes(mkv[: len(mkv) // 2])
    faststart = folder / "fast.mp4"
    swap_video(build_swapper(), ALL, folder / "whole.mkv", faststart)
    content = faststart.read_bytes()
    (folder / "cutfast.mp4").write_bytes(content[: len(content) * 2 // 3])
    write_video(folder / "wall.mp4", [scene([])] * 10)
    with av.open(str(folder / "sound.mp4"), "w") as out, av.open(str(video)) as source:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)


@pytest.fixture(scope="module")
def bad(tmp_path_factory, video):
    folder = tmp_path_factory.mktemp("bad")
    make_bad_videos(folder, video)
    return folder


@pytest.mark.parametrize(
    ("name", "output", "reason"),
    [
        ("missing.mp4", "o.mp4", "missing.mp4 does not exist"),
        ("text.mp4", "o.mp4", "text.mp4: it is not a video"),
        ("empty.mp4", "o.mp4", "empty.mp4: it is not a video"),
        ("cut.mp4", "o.mp4", "cut.mp4: it is not a video in any known format, or is cut off"),
        ("cut.mkv", "o.mp4", r"cut.mkv is (cut off|damaged)"),
        ("cutfast.mp4", "o.mp4", r"cutfast.mp4 is (cut off|damaged)"),
        ("sound.mp4", "o.mp4", "sound.mp4 has no video stream"),
        ("wall.mp4", "o.mp4", "no face was found in any of the 10 frames"),
        ("whole.mkv", "wall.mp4", "wall.mp4 exists: .*--overwrite"),
        ("whole.mkv", "o.webm", "end its name in one of .mp4"),
        ("whole.mkv", "no/folder/o.mp4", "cannot write to the folder .*no/folder"),
        ("whole.mkv", "/proc/o.mp4", "cannot write to the folder /proc"),
    ],
)
def test_bad_videos_end_in_one_line_and_leave_nothing(bad, name, output, reason):
    before = sorted(bad.rglob("*"))
    with pytest.raises(UserError, match=reason) as caught:
        swap_video(build_swapper(), ALL, bad / name, bad / output)
    assert "\n" not in str(caught.value)
    assert sorted(bad.rglob("*")) == before


def test_sound_that_does_not_fit_is_found_before_the_work(tmp_path):
    source = write_video(tmp_path / "a.mkv", walk(5), sound="pcm_u8")
    swapper = build_swapper()
    with pytest.raises(UserError, match=r"\.mp4 cannot hold the sound .*pcm_u8.*write an \.mkv"):
        swap_video(swapper, ALL, source, tmp_path / "b.mp4")
    assert swapper.finder.detector.calls == 0
    swap_video(swapper, ALL, source, tmp_path / "b.mkv")
    assert read_sound(tmp_path / "b.mkv") == read_sound(source)


def test_the_command_refuses_before_it_loads_anything(bad, capsys):
    words = ["swap", "--source", "nobody.png", "--checkpoint", "nowhere"]
    words += ["--target", str(bad / "text.mp4"), "--output", str(bad / "o.mp4")]
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith("error: cannot read the video")
    assert cli.main([*words, "--detect-every", "0"]) == 2
    assert "--detect-every must lie between 1 and 30" in capsys.readouterr().err
    words[words.index("--target") + 1] = str(bad / "nobody.png")
    assert cli.main([*words, "--crf", "20"]) == 2
    assert "are for videos" in capsys.readouterr().err
