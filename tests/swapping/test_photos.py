"""Photographs of every kind, and files that are complete or absent."""

import os

import numpy as np
import pytest
from PIL import Image, ImageCms

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import publish_file
from faceshifter_jax.swapping.photos import load_photo, publish_photo

HEIGHT, WIDTH = 24, 40


@pytest.fixture
def pixels():
    """A smooth colourful picture: lossy formats keep it nearly."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 6, y * 10, 200 - x * 2 - y * 2], -1).astype(np.uint8)


def grey_of(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L"))


def test_rotated_by_exif(pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.rot90(pixels).copy())
    stored.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_photo(tmp_path / "a.png").pixels, pixels)


def test_transparent_over_mid_grey(pixels, tmp_path):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, :10] = 0
    Image.fromarray(np.concatenate([pixels, alpha], -1)).save(tmp_path / "a.png")
    result = load_photo(tmp_path / "a.png").pixels
    np.testing.assert_array_equal(result[:, 10:], pixels[:, 10:])
    np.testing.assert_array_equal(result[:, :10], 128)


def test_grey(pixels, tmp_path):
    Image.fromarray(grey_of(pixels)).save(tmp_path / "a.jpg", quality=100)
    result = load_photo(tmp_path / "a.jpg").pixels
    assert result.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(result[..., 1].astype(int) - grey_of(pixels)).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_of_grey(pixels, suffix, tmp_path):
    wide = grey_of(pixels).astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / f"a{suffix}")
    result = load_photo(tmp_path / f"a{suffix}").pixels
    np.testing.assert_array_equal(result, np.repeat(grey_of(pixels)[..., None], 3, -1))


def test_cmyk(pixels, tmp_path):
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    result = load_photo(tmp_path / "a.jpg").pixels
    assert result.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(result.astype(int) - pixels).max() <= 12


def test_colour_profiles_stay_with_rgb(pixels, tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    Image.fromarray(grey_of(pixels)).save(tmp_path / "grey.png", icc_profile=profile)
    photo = load_photo(tmp_path / "a.png")
    assert photo.icc_profile == profile
    assert load_photo(tmp_path / "grey.png").icc_profile is None
    with publish_photo(tmp_path / "b.png", overwrite=False) as write:
        write(photo.pixels, photo.icc_profile)
    again = load_photo(tmp_path / "b.png")
    np.testing.assert_array_equal(again.pixels, pixels)
    assert again.icc_profile == profile


def cut_off(path, pixels):
    Image.fromarray(np.tile(pixels, (9, 9, 1))).save(path)
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    "make",
    [
        lambda path, pixels: None,
        lambda path, pixels: path.write_text("hello"),
        lambda path, pixels: path.write_bytes(b""),
        lambda path, pixels: path.mkdir(),
        cut_off,
    ],
    ids=["missing", "text", "empty", "folder", "cut off"],
)
def test_what_is_no_picture_is_named_in_one_line(make, pixels, tmp_path):
    make(tmp_path / "a.png", pixels)
    with pytest.raises(UserError, match=r"a\.png") as caught:
        load_photo(tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert "<_io" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".webp", ".tif", ".bmp"])
def test_written_pictures_are_read_again(pixels, suffix, tmp_path):
    with publish_photo(tmp_path / f"a{suffix}", overwrite=False) as write:
        write(pixels)
    assert os.listdir(tmp_path) == [f"a{suffix}"]
    lossy = suffix in (".JPG", ".jpeg", ".webp")
    difference = np.abs(load_photo(tmp_path / f"a{suffix}").pixels.astype(int) - pixels)
    assert difference.max() <= (12 if lossy else 0)


def write_half(path):
    with publish_file(path, overwrite=True) as beside:
        beside.write_text("new")
        raise RuntimeError


def test_an_exception_leaves_what_was_there(tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "a.csv")
    assert os.listdir(tmp_path) == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file.png", "--overwrite"),
        ("folder.png", "is a folder"),
        ("missing/a.png", "cannot write to the folder"),
        ("file.png/a.png", "cannot write to the folder"),
        ("a.xyz", "format"),
        ("a", "format"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_the_work(name, reason, tmp_path):
    (tmp_path / "file.png").write_text("old")
    (tmp_path / "folder.png").mkdir()
    with (
        pytest.raises(UserError, match=reason),
        publish_photo(tmp_path / name, overwrite=False),
    ):
        pytest.fail("the work has begun")
    assert sorted(os.listdir(tmp_path)) == ["file.png", "folder.png"]
