"""Animated GIF and WebP files, folders with videos, and names of outputs by patterns."""

import numpy as np
import pytest
from PIL import Image
from rendered_videos import read_pictures, write_video
from wall_faces import WallDetector, face_square, scene

from faceshifter_jax import cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.animations import Animation
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.swapping import swap_inputs
from faceshifter_jax.swapping.assignment import OneSource
from faceshifter_jax.swapping.output_pattern import check_pattern, fill_pattern
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.swapping.video.swap_animation import swap_animation

WHITE = np.full((64, 64, 3), 255, np.uint8)
DURATIONS = [50, 120, 120, 200, 90]


def put_source(sources, targets, strength=1.0):
    return np.broadcast_to(np.asarray(sources), targets.shape)


def make_swapper():
    statement = Provenance(checkpoint_sha256="a" * 64, identity_sha256="b" * 64)
    return Swapper(put_source, 64, WallDetector(), provenance=statement)


def pictures(second=False):
    """A face that moves, then stands; with `second` a smaller one next to it."""
    faces = [(face_square(1), 10 + 6 * min(i, 3), 20) for i in range(len(DURATIONS))]
    beside = [(face_square(2, 90), 210, 60)] if second else []
    return [scene([face, *beside]) for face in faces]


def write_animation(path, frames, alpha=None, **options):
    if alpha is not None:
        frames = [np.concatenate(pair, -1) for pair in zip(frames, alpha, strict=True)]
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("transparent", [False, True])
def test_every_frame_of_an_animation_is_swapped(suffix, transparent, tmp_path):
    alpha = np.full((len(DURATIONS), 192, 320, 1), 255, np.uint8)
    # The first frame is opaque.
    alpha[1:, :10] = 0
    # Pillow joins frames that are alike, so the face that stands changes its background.
    frames = pictures()
    frames[4][180:] = 40
    options = {"disposal": 2} if suffix == ".gif" else {"lossless": True}
    source = write_animation(
        tmp_path / f"in{suffix}",
        frames,
        alpha if transparent else None,
        duration=DURATIONS,
        loop=3,
        **options,
    )
    out = tmp_path / f"out{suffix}"
    before = Animation(source)
    assert swap_animation(make_swapper(), OneSource(WHITE), source, out) == []
    after = Animation(out)
    assert after.info.loop == before.info.loop == 3
    assert [frame.stated for frame in after.frames()] == DURATIONS
    for old, new in zip(before.frames(), after.frames(), strict=True):
        place = 10 + 6 * min(old.index, 3)
        assert new.picture.pixels[80:120, place + 50 : place + 80].min() > 200
        outside = np.s_[20:160, 220:]
        difference = np.abs(old.picture.pixels[outside].astype(int) - new.picture.pixels[outside])
        assert difference.max() <= (6 if suffix == ".webp" or transparent else 0)
        if transparent:
            assert (new.picture.values[:8, :, 3:] == (0 if new.index else 255)).all()
            assert (new.picture.values[12:, :, 3:] == 255).all()
    assert read_provenance(out).checkpoint_sha256 == "a" * 64
    with pytest.raises(UserError, match=r"out\.(gif|webp) exists"):
        swap_animation(make_swapper(), OneSource(WHITE), source, out)


def test_frames_that_are_equal_stay_frames_of_a_gif(tmp_path):
    source = write_animation(
        tmp_path / "in.webp", pictures(second=True)[:4], duration=DURATIONS[:4], lossless=True
    )
    everywhere = Swapper(lambda sources, targets: targets, 64, WallDetector())
    swap_animation(everywhere, OneSource(WHITE, "all"), source, tmp_path / "a.gif")
    animation = Animation(tmp_path / "a.gif")
    assert [frame.stated for frame in animation.frames()] == DURATIONS[:4]
    # The largest person alone, in all frames.
    swap_animation(make_swapper(), OneSource(WHITE), source, tmp_path / "b.gif")
    for frame in Animation(tmp_path / "b.gif").frames():
        assert frame.picture.pixels[95:115, 245:265].mean() < 230
    walls = [scene([]), scene([])]
    walls[1][:4] = 0
    wall = write_animation(tmp_path / "wall.gif", walls)
    with pytest.raises(UserError, match=r"no face was found in any of the 2 frames of .*wall.gif"):
        swap_animation(make_swapper(), OneSource(WHITE), wall, tmp_path / "c.gif")
    assert not (tmp_path / "c.gif").exists()


@pytest.fixture
def command(monkeypatch, tmp_path):
    monkeypatch.setattr(swap_inputs, "load_swapper", lambda arguments: make_swapper())
    monkeypatch.setattr(
        "faceshifter_jax.swapping.video.video_command.load_swapper", lambda a: make_swapper()
    )
    Image.fromarray(scene([(face_square(3), 60, 20)])).save(tmp_path / "me.png")

    def swap(target, output, *words):
        words = ["swap", "--source", tmp_path / "me.png", "--target", tmp_path / target, *words]
        return cli.main([*map(str, words), "--output", str(tmp_path / output)])

    return swap


def test_a_folder_of_photos_animations_and_videos(command, tmp_path, capfd):
    folder = tmp_path / "in"
    (folder / "holidays").mkdir(parents=True)
    frames = pictures()
    Image.fromarray(frames[0]).save(folder / "photo.jpg", quality=95)
    write_animation(folder / "moving.gif", frames[:3], duration=100)
    write_animation(folder / "still.gif", frames[:1])
    write_video(folder / "holidays/film.mp4", frames)
    write_video(folder / "old.avi", frames, codec="mpeg4", sound=None)
    (folder / "broken.mp4").write_text("hello")
    assert command("in", "out", "--crf", "1") == 2
    said = capfd.readouterr()
    assert "left out: cannot read the video" in said.err
    assert said.err.splitlines()[-1].startswith("error: 1 of 6 files were left out")
    assert said.out == f"wrote 5 files into {tmp_path / 'out'}\n"
    written = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert written == {
        *("holidays/film.mp4", "old.avi.mp4", "moving.gif", "photo.jpg", "still.gif.png")
    }
    for name in ("holidays/film.mp4", "old.avi.mp4"):
        swapped = read_pictures(tmp_path / "out" / name)
        assert len(swapped) == len(frames)
        assert np.abs(swapped[0].astype(int) - frames[0]).max() > 60
    assert Animation(tmp_path / "out/moving.gif").info.num_frames == 3
    (folder / "broken.mp4").unlink()
    assert command("in", "out") == 0
    assert "5 were there already" in capfd.readouterr().out


def test_patterns_name_outputs(command, tmp_path, capfd):
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.jpg"):
        Image.fromarray(pictures()[0]).save(folder / name, quality=95)
    pattern = "out/{folder}/{number:03d}_{stem}_as_{source}{suffix}"
    assert command("in", pattern) == 0
    made = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert made == {"001_a_as_me.png", "below/002_b_as_me.jpg"}
    # Next to the targets: what was written is no target the second time.
    for there in (0, 2):
        assert command("in", "in/{folder}/{stem}-new{suffix}") == 0
        assert (f"{there} were there already" in capfd.readouterr().out) == bool(there)
    assert len(list(folder.rglob("*new*"))) == 2
    assert command("in/a.png", "{source}-{stem}.jpg") == 0
    assert (tmp_path / "me-a.jpg").exists()
    assert command("in", "same/one.png") == 2
    assert "is a folder: name one to write into" in capfd.readouterr().err
    assert command("in", "same/{source}.png") == 2
    assert "a-new.png would both become me.png" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{stm}.png", r"\{stm\} is unknown; did you mean \{stem\}\? There are \{stem\} \{suffix\}"),
        ("{}.png", r"\{\} is unknown; There are"),
        ("{stem.__class__}.png", "is unknown"),
        ("{stem!r}.png", "takes no !r"),
        ("{stem:04d}.png", "Unknown format code"),
        ("{number:s}.png", "Unknown format code"),
        ("{stem.png", "a brace itself is written twice"),
        ("stem}.png", "a brace itself is written twice"),
        ("{source}.png", "is of --source, and there is none"),
    ],
)
def test_patterns_that_cannot_be_filled(pattern, reason):
    with pytest.raises(UserError, match=reason):
        check_pattern(pattern, "--output", has_source=False)


def test_braces_themselves():
    check_pattern("{{a}}{stem}.png", "--output")
    filled = fill_pattern("{{a}}{stem}.png", "b.c.jpg", suffix=".jpg", source=None, number=1)
    assert str(filled) == "{a}b.c.png"
