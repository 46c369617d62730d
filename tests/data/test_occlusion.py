"""Cut-outs, where they go, their colours, and how they are laid over pictures."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax.data.occlusion.colours import match_colours
from faceshifter_jax.data.occlusion.cutouts import Cutout, crop_to_content
from faceshifter_jax.data.occlusion.cutouts_embedded import NUM_CUTOUTS, EmbeddedCutouts
from faceshifter_jax.data.occlusion.cutouts_folder import FolderCutouts
from faceshifter_jax.data.occlusion.occlude import blend, occlude
from faceshifter_jax.data.occlusion.placing import (
    Placement,
    draw_placement,
    place,
)
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.region import FACE_MIDDLE, FACE_RADII, face_region
from faceshifter_jax.synthetic import OCCLUDERS

MANNERS = ("loose", "worn", "reaching")


def make_disc(colour=(30, 200, 90), diameter=40, manner="loose"):
    """A plain disc, opaque, in a cut-out that may be worn by pictures of 64 pixels."""
    place = np.arange(diameter) + 0.5 - diameter / 2
    inside = place[None] ** 2 + place[:, None] ** 2 < (diameter / 2) ** 2
    pixels = np.zeros((diameter, diameter, 4), np.uint8)
    pixels[inside] = (*colour, 255)
    return Cutout(pixels, (diameter / 2, diameter / 2), manner, 64 * (manner == "worn"))


def noise_picture(size=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)


def centre_of(alpha):
    """Column and row of the centre of mass, in shares of the side."""
    place = (np.arange(len(alpha)) + 0.5) / len(alpha)
    return np.array([alpha.sum(0) @ place, alpha.sum(1) @ place]) / alpha.sum()


def test_blend_is_exact_at_both_ends_and_rounds_between():
    below = np.array([[[0, 255, 7], [0, 255, 7], [10, 200, 0], [10, 0, 3]]], np.uint8)
    above = np.array([[[9, 1, 255], [9, 1, 255], [20, 100, 1], [11, 255, 3]]], np.uint8)
    alpha = np.array([[0, 1, 0.25, 0.5]], np.float32)
    mixed = blend(below, above, alpha)
    assert mixed.dtype == np.uint8
    # 10 + 10/4 = 12.5 and 10.5, 127.5 go up; 0.25 goes down.
    expected = [[0, 255, 7], [9, 1, 255], [13, 175, 0], [11, 128, 3]]
    np.testing.assert_array_equal(mixed[0], expected)


def test_blend_with_every_byte_and_no_or_full_cover():
    below, above = noise_picture(seed=1), noise_picture(seed=2)
    for alpha, expected in ((0, below), (1, above)):
        cover = np.full(below.shape[:2], alpha, np.float32)
        np.testing.assert_array_equal(blend(below, above, cover), expected)


@pytest.mark.parametrize("manner", MANNERS)
def test_an_occluded_picture_is_the_blend_that_its_alpha_says(manner):
    grey = np.full((64, 64, 3), (120, 90, 80), np.uint8)
    seen = set()
    for seed in range(12):
        occluded, alpha = occlude(grey, make_disc(manner=manner), np.random.default_rng(seed))
        assert (alpha.shape, alpha.dtype, occluded.dtype) == ((64, 64), np.float32, np.uint8)
        np.testing.assert_array_equal(occluded[alpha == 0], grey[alpha == 0])
        colours = np.unique(occluded[alpha == 1], axis=0)
        assert len(colours) == 1
        expected = blend(grey, np.broadcast_to(colours[0], grey.shape), alpha)
        # Resampling multiplies colours by alpha: where that is small, bytes round them coarsely.
        assert np.abs(occluded.astype(int) - expected).max() <= 3
        assert ((alpha > 0) & (alpha < 1)).any()
        seen.add(tuple(colours[0]))
    assert len(seen) > 6


@pytest.mark.parametrize("manner", MANNERS)
def test_the_result_follows_from_the_generator_and_leaves_its_input(manner):
    picture, cutout = noise_picture(), make_disc(manner=manner)
    before = picture.copy(), cutout.pixels.copy()
    picture.setflags(write=False)
    cutout.pixels.setflags(write=False)
    some = [occlude(picture, cutout, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(picture, before[0])
    np.testing.assert_array_equal(cutout.pixels, before[1])
    np.testing.assert_array_equal(some[0][0], some[1][0])
    np.testing.assert_array_equal(some[0][1], some[1][1])
    assert not np.array_equal(some[0][1], some[2][1])


def test_loose_things_go_anywhere_on_the_face_in_any_size():
    centres, areas, angles = [], [], []
    cutout = make_disc()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        placement = draw_placement(cutout, 64, rng)
        centres.append(placement.target)
        angles.append(placement.angle)
        areas.append(occlude(noise_picture(), cutout, np.random.default_rng(seed))[1].mean())
    offsets = (np.array(centres) / 64 - FACE_MIDDLE) / FACE_RADII
    assert (np.hypot(*offsets.T) <= 1).all()
    np.testing.assert_allclose(offsets.mean(0), 0, atol=0.15)
    assert np.hypot(*offsets.T).std() > 0.15
    assert np.ptp(angles) > 6
    assert max(areas) < 0.31
    assert min(areas) > 0.02
    assert max(areas) > 5 * min(areas)


def test_worn_things_move_a_little():
    centres, areas = [], []
    for seed in range(30):
        alpha = occlude(noise_picture(), make_disc(manner="worn"), np.random.default_rng(seed))[1]
        centres.append(centre_of(alpha))
        areas.append(alpha.mean())
    assert 0.005 < np.abs(np.array(centres) - 0.5).max() < 0.03
    natural = np.pi * 20**2 / 64**2
    assert max(areas) < 1.13 * natural
    assert min(areas) > 0.88 * natural
    # In a picture of another size, it is as large in comparison.
    large = occlude(noise_picture(128), make_disc(manner="worn"), np.random.default_rng(0))[1]
    assert large.mean() == pytest.approx(areas[0], rel=0.02)


def test_reaching_things_come_from_outside_the_picture():
    for seed in range(60):
        alpha = occlude(noise_picture(), make_disc(manner="reaching"), np.random.default_rng(seed))[
            1
        ]
        border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
        assert border.max() > 0.5


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.0, 1.6])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_a_cutout_comes_where_its_placement_says(scale, angle):
    # One corner of the square is marked: mirrored, it comes to the other side.
    pixels = np.full((40, 40, 4), 255, np.uint8)
    pixels[:12, :12, :3] = 0
    for mirrored in (False, True):
        placement = Placement((60.0, 70.0), scale, angle, mirrored)
        layer = place(Cutout(pixels, (20.0, 20.0)), placement, 128)
        whole = np.zeros((128, 128, 4))
        height, width = layer.pixels.shape[:2]
        whole[layer.row : layer.row + height, layer.column : layer.column + width] = layer.pixels
        alpha = whole[..., 3] / 255
        np.testing.assert_allclose(centre_of(alpha) * 128, (60, 70), atol=0.3)
        assert alpha.sum() == pytest.approx((40 * scale) ** 2, rel=0.03)
        mark = centre_of(alpha * (255 - whole[..., 0])) * 128
        towards = (14 if mirrored else -14) - 14j
        moved = scale * towards * np.exp(1j * angle)
        np.testing.assert_allclose(mark, (60 + moved.real, 70 + moved.imag), atol=0.7)


def test_what_lies_outside_the_picture_is_no_pixels():
    layer = place(make_disc(), Placement((-100.0, 10.0), 1.0, 0.0, False), 64)
    assert layer.pixels.size == 0


def test_the_face_region_is_in_the_middle():
    region = face_region(100)
    assert region[30:80, 40:60].all()
    assert not region[:19].any()
    assert not region[93:].any()
    assert 0.3 < region.mean() < 0.4


def test_matched_colours_have_moved_to_the_faces_mean_and_spread():
    rng = np.random.default_rng(0)
    colours = np.clip(rng.normal((60, 120, 160), 12, (50, 50, 3)), 0, 255).astype(np.uint8)
    face = np.clip(rng.normal((180, 130, 110), (20, 15, 10), (900, 3)), 0, 255).astype(np.uint8)
    alpha = rng.random((50, 50)).astype(np.float32)
    alpha[:10] = 0
    weights = alpha / alpha.sum()

    def statistics(picture):
        mean = np.einsum("ij,ijk->k", weights, picture)
        return mean, np.sqrt(np.einsum("ij,ijk->k", weights, (picture - mean) ** 2))

    mean, spread = statistics(colours.astype(float))
    for amount in (0.0, 0.4, 1.0):
        matched = match_colours(colours, alpha, face, amount)
        moved, scaled = statistics(matched.astype(float))
        np.testing.assert_allclose(moved, mean + amount * (face.mean(0) - mean), atol=0.5)
        np.testing.assert_allclose(scaled, spread + amount * (face.std(0) - spread), atol=0.5)
    np.testing.assert_array_equal(match_colours(colours, alpha, face, 0.0), colours)


def test_plain_colours_stay_plain():
    colours = np.full((4, 4, 3), (10, 20, 240), np.uint8)
    matched = match_colours(colours, np.ones((4, 4), np.float32), noise_picture()[0], 0.9)
    assert len(np.unique(matched.reshape(-1, 3), axis=0)) == 1


def test_occlusions_look_more_like_the_face():
    face = np.full((64, 64, 3), (200, 150, 120), np.uint8)
    gaps = []
    for seed in range(20):
        occluded, alpha = occlude(face, make_disc((0, 0, 255)), np.random.default_rng(seed))
        gaps.append(np.abs(occluded[alpha == 1].mean(0) - (200, 150, 120)).mean())
    unmatched = np.abs(np.array([200, 150, 120 - 255])).mean()
    assert max(gaps) < unmatched
    assert np.mean(gaps) < 0.8 * unmatched


def test_crop_keeps_what_shows_and_the_anchor_on_it():
    pixels = np.zeros((9, 7, 4), np.uint8)
    pixels[2:5, 1:3] = (1, 2, 3, 4)
    cropped, anchor = crop_to_content(pixels, (3.0, 3.0))
    np.testing.assert_array_equal(cropped, pixels[2:5, 1:3])
    assert anchor == (2.0, 1.0)
    assert crop_to_content(pixels)[1] == (1.0, 1.5)


@pytest.mark.parametrize("size", [64, 256])
def test_built_in_things_of_every_kind_cover_some_of_the_face_and_not_all(size):
    cutouts = EmbeddedCutouts(size)
    picture = noise_picture(size)
    for number, kind in enumerate(OCCLUDERS):
        shares, covers = [], []
        for index in range(number, 4 * len(OCCLUDERS), len(OCCLUDERS)):
            alpha = cutouts[index].pixels[..., 3]
            shares.append((alpha > 0).mean())
            cover = occlude(picture, cutouts[index], np.random.default_rng(index))[1]
            covers.append(cover[face_region(size)].mean())
            assert (alpha == 255).any() or kind == "glasses"
        assert min(shares) > 0.05, kind
        assert min(covers) > 0.01, kind
        assert max(covers) < 0.8, kind


def test_built_in_things_are_numbered():
    cutouts, others = EmbeddedCutouts(64), EmbeddedCutouts(64)
    assert len(cutouts) == NUM_CUTOUTS
    digests = set()
    for index in range(10):
        np.testing.assert_array_equal(cutouts[index].pixels, others[index].pixels)
        digests.add(hashlib.sha256(cutouts[index].pixels).digest())
    assert len(digests) == 10
    manners = [cutouts[index].manner for index in range(len(OCCLUDERS))]
    assert manners == ["worn", "reaching", "worn", "loose", "worn"]
    with pytest.raises(IndexError):
        cutouts[NUM_CUTOUTS]


@pytest.fixture
def folder(tmp_path):
    """PNG files with alpha of every sort, each a bright square in a transparent frame."""
    square = np.zeros((20, 30), np.uint8)
    square[5:15, 10:20] = 1
    bright = np.stack([square * 250, square * 200, square * 90, square * 255], -1)
    rgba = Image.fromarray(bright)
    rgba.save(tmp_path / "a.png")
    (tmp_path / "deeper/still").mkdir(parents=True)
    rgba.convert("LA").save(tmp_path / "deeper/b.PNG")
    Image.fromarray(square * 7).convert("P").save(tmp_path / "deeper/still/c.png", transparency=0)
    Image.fromarray(bright[..., :3]).save(tmp_path / "d.png", transparency=(0, 0, 0))
    rgba.quantize(8).save(tmp_path / "e.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_png_files_of_every_sort_are_cut_outs(folder):
    cutouts = FolderCutouts(folder, 64)
    assert len(cutouts) == 5
    for index in range(5):
        cutout = cutouts[index]
        assert cutout.pixels.shape == (10, 10, 4)
        assert (cutout.pixels[..., 3] == 255).all()
        assert (cutout.anchor, cutout.manner) == ((5.0, 5.0), "loose")
        occluded, alpha = occlude(noise_picture(), cutout, np.random.default_rng(index))
        assert alpha.any()
        assert occluded.shape == (64, 64, 3)
    np.testing.assert_array_equal(cutouts[0].pixels[0, 0], (250, 200, 90, 255))


def test_large_files_are_shrunk(tmp_path):
    pixels = np.zeros((300, 900, 4), np.uint8)
    pixels[:, 100:900] = (200, 100, 50, 255)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    assert FolderCutouts(tmp_path, 64)[0].pixels.shape == (36, 96, 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("opaque", r"1 of the 6 PNG .*bad\.png \(alpha is 255 everywhere\)"),
        ("empty", r"bad\.png \(alpha is 0 everywhere\)"),
        ("rgb", r"bad\.png \(no alpha channel\)"),
        ("broken", r"bad\.png \(cannot be read, OSError\)"),
        ("text", r"bad\.png \(cannot be read, UnknownFormatError\)"),
    ],
)
def test_files_that_cut_nothing_out_are_named_in_a_line(folder, name, message):
    pixels = np.full((8, 8, 4), 255, np.uint8)
    path = folder / "bad.png"
    if name == "empty":
        pixels[..., 3] = 0
    if name == "text":
        path.write_text("hello")
    elif name == "broken":
        path.write_bytes((folder / "a.png").read_bytes()[:-30])
    else:
        Image.fromarray(pixels[..., :3] if name == "rgb" else pixels).save(path)
    with pytest.raises(UserError, match=message) as caught:
        FolderCutouts(folder, 64)
    assert "\n" not in str(caught.value)


def test_only_the_first_bad_files_are_named(tmp_path):
    for number in range(5):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match=r"5 of the 5 .*0\.png .*2\.png \(.*\) and 2 more: "):
        FolderCutouts(tmp_path, 64)


def test_a_folder_without_png_files_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="holds no PNG file"):
        FolderCutouts(tmp_path, 64)
    with pytest.raises(UserError, match="there is no folder"):
        FolderCutouts(tmp_path / "missing", 64)


def test_a_file_that_was_replaced_after_the_check_is_named(folder):
    cutouts = FolderCutouts(folder, 64)
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    with pytest.raises(UserError, match=r"a\.png has changed: no alpha channel"):
        cutouts[0]
    with pytest.raises(UserError, match=r"a\.png \(no alpha channel\)"):
        FolderCutouts(folder, 64)
