"""Photographs of every kind: what is kept of them, and files that are complete or absent."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import publish_file
from faceshifter_jax.media import photos
from faceshifter_jax.media.photo_files import publish_photo
from faceshifter_jax.media.photos import Photo, load_photo, repaint
from faceshifter_jax.media.png16 import write_png16

HEIGHT, WIDTH = 24, 40
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def pixels():
    """A smooth colourful picture: lossy formats keep it nearly."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 6, y * 10, 200 - x * 2 - y * 2], -1).astype(np.uint8)


def grey_of(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L"))


def with_alpha(pixels):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, :10] = 0
    return np.concatenate([pixels, alpha], -1)


def repaint_some(photo):
    """A photo as after a swap: rows 5 to 9 are darker by 20 levels."""
    after = photo.pixels.copy()
    after[5:10] -= np.minimum(after[5:10], 20)
    return repaint(photo, after)


def rewrite(photo, path):
    with publish_photo(path, marked=False) as write:
        return write(photo, None)


def untouched(array):
    return np.concatenate([array[:5], array[10:]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_by_exif(pixels, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(with_alpha(pixels)).save(tmp_path / "a.png", exif=exif)
    photo = load_photo(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        turned = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }
        upright = image.transpose(turned[orientation]) if orientation > 1 else image
        np.testing.assert_array_equal(photo.stored, np.asarray(upright))
    rewrite(photo, tmp_path / "b.png")
    np.testing.assert_array_equal(load_photo(tmp_path / "b.png").stored, photo.stored)


def test_transparent_over_mid_grey_with_what_is_hidden_kept(pixels, tmp_path):
    before = with_alpha(pixels)
    Image.fromarray(before).save(tmp_path / "a.png")
    photo = load_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.pixels[:, 10:], pixels[:, 10:])
    np.testing.assert_array_equal(photo.pixels[:, :10], 128)
    assert rewrite(repaint_some(photo), tmp_path / "b.png") == []
    after = np.asarray(Image.open(tmp_path / "b.png"))
    np.testing.assert_array_equal(untouched(after), untouched(before))
    np.testing.assert_array_equal(after[:, :10], before[:, :10])
    np.testing.assert_array_equal(after[..., 3], before[..., 3])
    np.testing.assert_array_equal(
        after[5:10, 10:, :3], before[5:10, 10:, :3] - np.minimum(before[5:10, 10:, :3], 20)
    )
    assert "transparency" in rewrite(photo, tmp_path / "b.jpg")[0]


def test_grey_stays_grey(pixels, tmp_path):
    Image.fromarray(grey_of(pixels)).save(tmp_path / "a.png")
    photo = load_photo(tmp_path / "a.png")
    assert photo.pixels.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(photo.pixels[..., 1], grey_of(pixels))
    after = photo.pixels.copy()
    after[5:10, :, 0] = 255
    result = repaint(photo, after)
    assert np.ptp(result.pixels, axis=-1).max() == 0
    rewrite(result, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(untouched(np.asarray(image)), untouched(grey_of(pixels)))
        lighter = np.asarray(image)[5:10].astype(int) - grey_of(pixels)[5:10]
        assert np.all(lighter[grey_of(pixels)[5:10] < 100] > 10)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_of_grey(pixels, suffix, tmp_path):
    wide = grey_of(pixels).astype(np.uint16) * 257 + 3
    Image.fromarray(wide).save(tmp_path / f"a{suffix}")
    photo = load_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(photo.pixels, np.repeat(grey_of(pixels)[..., None], 3, -1))
    assert rewrite(repaint_some(photo), tmp_path / f"b{suffix}") == []
    after = np.asarray(Image.open(tmp_path / f"b{suffix}"))
    assert after.dtype == np.uint16
    np.testing.assert_array_equal(untouched(after), untouched(wide))
    np.testing.assert_array_equal(after[5:10, 20:], wide[5:10, 20:] - 20 * 257)
    assert "8 bits" in rewrite(photo, tmp_path / "b.jpg")[0]


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_of_colour(pixels, channels, tmp_path):
    wide = with_alpha(pixels).astype(np.uint16) * 257
    wide[..., :3] -= wide[..., :3].clip(0, 40)
    wide = wide[..., [0, 3]] if channels == 2 else wide[..., :channels]
    write_png16(tmp_path / "a.png", wide, icc_profile=SRGB, dpi=(300, 300))
    photo = load_photo(tmp_path / "a.png")
    assert photo.notes == ()
    assert rewrite(repaint_some(photo), tmp_path / "b.png") == []
    again = load_photo(tmp_path / "b.png")
    np.testing.assert_array_equal(untouched(again.stored), untouched(wide))
    assert (again.stored != wide).any()
    assert again.metadata.icc_profile == SRGB
    assert again.metadata.dpi == pytest.approx((300, 300), abs=0.1)


def test_inks_become_rgb_and_the_user_is_told(pixels, tmp_path):
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    photo = load_photo(tmp_path / "a.jpg")
    assert photo.pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(photo.pixels.astype(int) - pixels).max() <= 12
    assert "CMYK" in photo.notes[0]


def test_palettes_and_frames(pixels, tmp_path):
    first, second = (Image.fromarray(a).quantize(64) for a in (pixels, 255 - pixels))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    photo = load_photo(tmp_path / "a.gif")
    assert np.abs(photo.pixels.astype(int) - pixels).mean() < 12
    assert photo.notes == ("of its 2 frames the first is taken",)


def test_colour_profiles_stay_where_they_are_true(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=SRGB)
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "inks.jpg", icc_profile=SRGB)
    photo = load_photo(tmp_path / "a.png")
    assert photo.metadata.icc_profile == SRGB
    assert load_photo(tmp_path / "inks.jpg").metadata.icc_profile is None
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        rewrite(photo, tmp_path / f"b{suffix}")
        assert load_photo(tmp_path / f"b{suffix}").metadata.icc_profile == SRGB


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_stays_without_rotation_and_without_the_old_face(pixels, suffix, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = 6
    exif[ExifTags.Base.Artist.value] = "A. Body"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.ExposureTime.value: 0.5,
        ExifTags.Base.MakerNote.value: b"a preview",
        ExifTags.Base.ExifImageWidth.value: WIDTH,
        ExifTags.Base.ExifImageHeight.value: HEIGHT,
    }
    exif[ExifTags.IFD.GPSInfo] = {1: "N"}
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    photo = load_photo(tmp_path / "a.jpg")
    rewrite(photo, tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as image:
        kept = image.getexif()
        assert kept.get(ExifTags.Base.Orientation.value, 1) == 1
        assert kept[ExifTags.Base.Artist.value] == "A. Body"
        capture = kept.get_ifd(ExifTags.IFD.Exif)
        assert capture[ExifTags.Base.ExposureTime.value] == 0.5
        assert capture[ExifTags.Base.ExifImageWidth.value] == HEIGHT
        assert ExifTags.Base.MakerNote.value not in capture
        assert kept.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
        assert image.size == (HEIGHT, WIDTH)
    assert b"a preview" not in (tmp_path / f"b{suffix}").read_bytes()


def test_pictures_that_are_too_large_are_refused_before_they_are_read(
    pixels, tmp_path, monkeypatch
):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.setattr(photos, "LARGEST_PIXELS", HEIGHT * WIDTH)
    load_photo(tmp_path / "a.png")
    monkeypatch.setattr(photos, "LARGEST_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(UserError, match=r"a\.png has 40x24 pixels, .* make it smaller first$"):
        load_photo(tmp_path / "a.png")


def test_a_decompression_bomb_is_too_large(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (1, 1)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = struct.pack(">II", 30000, 20000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png has far more pixels, and 50 megapixels are"):
        load_photo(tmp_path / "a.png")


def cut_off(path, pixels):
    Image.fromarray(np.tile(pixels, (9, 9, 1))).save(path)
    path.write_bytes(path.read_bytes()[:500])


def cut_off_deep(path, pixels):
    write_png16(path, np.random.default_rng(0).integers(0, 65536, (40, 40, 3), np.uint16))
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    "make",
    [
        lambda path, pixels: None,
        lambda path, pixels: path.write_text("hello"),
        lambda path, pixels: path.write_bytes(b""),
        lambda path, pixels: path.mkdir(),
        cut_off,
        cut_off_deep,
    ],
    ids=["missing", "text", "empty", "folder", "cut off", "cut off, 16 bits"],
)
def test_what_is_no_picture_is_named_in_one_line(make, pixels, tmp_path):
    make(tmp_path / "a.png", pixels)
    with pytest.raises(UserError, match=r"a\.png") as caught:
        load_photo(tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert "<_io" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg", ".webp", ".tif", ".bmp"])
def test_written_pictures_are_read_again(pixels, suffix, tmp_path):
    assert rewrite(Photo(pixels, "it"), tmp_path / f"a{suffix}") == []
    assert os.listdir(tmp_path) == [f"a{suffix}"]
    lossy = suffix in (".JPG", ".jpeg", ".webp")
    difference = np.abs(load_photo(tmp_path / f"a{suffix}").pixels.astype(int) - pixels)
    assert difference.max() <= (12 if lossy else 0)


def test_two_writers_of_one_file_do_not_share_what_they_write(tmp_path):
    with publish_file(tmp_path / "a", overwrite=True) as one:
        with publish_file(tmp_path / "a", overwrite=True) as two:
            one.write_text("one")
            two.write_text("two")
        assert (tmp_path / "a").read_text() == "two"
    assert (tmp_path / "a").read_text() == "one"
    assert os.listdir(tmp_path) == ["a"]


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
        ("a.xyz", "the format .xyz is not written: end its name in one of .png"),
        ("a", "a says no picture's format: end its name in one of .png"),
        ("a.bmp", "BMP cannot say that a picture was swapped"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_the_work(name, reason, tmp_path):
    (tmp_path / "file.png").write_text("old")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=reason), publish_photo(tmp_path / name):
        pytest.fail("the work has begun")
    assert sorted(os.listdir(tmp_path)) == ["file.png", "folder.png"]
