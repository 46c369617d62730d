import io

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax.media.images import BEHIND_TRANSPARENT, decode_picture, encode_png, read_photo

LEFT, RIGHT = (200, 40, 40), (40, 40, 200)


def two_halves(width=32, height=32):
    image = Image.new("RGB", (width, height), LEFT)
    image.paste(RIGHT, (width // 2, 0, width, height))
    return image


def read(path, size=32):
    read_picture = read_photo(path, size)
    assert read_picture.problem is None, read_picture.problem
    picture = decode_picture(read_picture.encoded)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    return picture


def assert_colour(pixel, colour, tolerance=6):
    np.testing.assert_allclose(pixel.astype(int), colour, atol=tolerance)


def test_png_round_trip_is_exact():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_picture(encode_png(picture)), picture)


def jpeg_bytes(mode="RGB", **options):
    rough = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    image = Image.fromarray(rough).resize((97, 61), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, format="JPEG", **options)
    return buffer.getvalue()


def decode_with_pillow(encoded):
    with Image.open(io.BytesIO(encoded)) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [40, 95])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_decode_to_the_bytes_of_pillow(mode, subsampling, quality, progressive):
    encoded = jpeg_bytes(mode, subsampling=subsampling, quality=quality, progressive=progressive)
    picture = decode_picture(encoded)
    assert picture.flags.writeable
    np.testing.assert_array_equal(picture, decode_with_pillow(encoded))


def test_broken_jpegs_raise_what_pillow_raises():
    encoded = jpeg_bytes()
    for broken in (encoded[: len(encoded) // 2], encoded[:20], encoded[:2]):
        with pytest.raises(OSError) as expected:  # noqa: PT011
            decode_with_pillow(broken)
        with pytest.raises(OSError) as raised:  # noqa: PT011
            decode_picture(broken)
        assert str(raised.value).split("<")[0] == str(expected.value).split("<")[0]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_picture_of_the_right_size_keeps_its_bytes(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    two_halves().save(path)
    assert read_photo(path, 32).encoded == path.read_bytes()


def test_other_sizes_become_jpeg_without_subsampled_colour(tmp_path):
    two_halves(64, 64).save(tmp_path / "a.png")
    encoded = read_photo(tmp_path / "a.png", 32).encoded
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.format == "JPEG"
        assert all(layer[1:3] == (1, 1) for layer in image.layer)


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise: the left half comes to the top
    two_halves().save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = read(tmp_path / "a.jpg")
    assert_colour(picture[4, 4], LEFT)
    assert_colour(picture[4, 27], LEFT)
    assert_colour(picture[27, 4], RIGHT)


def test_the_centre_is_cut_out(tmp_path):
    image = Image.new("RGB", (100, 40), (0, 255, 0))
    image.paste(two_halves(40, 40), (30, 0))
    image.save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png", 40)
    assert_colour(picture[20, 2], LEFT)
    assert_colour(picture[20, 37], RIGHT)


def test_large_jpeg_is_cut_like_a_large_png(tmp_path):
    ramp = np.linspace(0, 255, 900).astype(np.uint8)
    picture = np.stack([np.broadcast_to(ramp, (600, 900))] * 3, -1)
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=95)
    difference = read(tmp_path / "a.png").astype(int) - read(tmp_path / "a.jpg")
    assert np.abs(difference).max() <= 4


def test_small_pictures_are_enlarged(tmp_path):
    two_halves(8, 8).save(tmp_path / "a.png")
    assert_colour(read(tmp_path / "a.png")[16, 1], LEFT)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("L", "jpg"), ("P", "png"), ("CMYK", "jpg"), ("1", "png")]
)
def test_other_modes_become_rgb(tmp_path, mode, suffix):
    path = tmp_path / f"a.{suffix}"
    image = two_halves().convert(mode)
    image.save(path)
    picture = read(path)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_allclose(picture[4, 4].astype(int), expected[4, 4], atol=12)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((32, 32), 128 * 257, np.uint16)).save(tmp_path / "a.png")
    assert_colour(read(tmp_path / "a.png")[10, 10], (128, 128, 128), tolerance=1)


def test_transparent_pixels_show_the_colour_behind(tmp_path):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, :16] = (*LEFT, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert_colour(picture[4, 4], LEFT)
    assert_colour(picture[4, 27], BEHIND_TRANSPARENT)


def test_palette_with_a_transparent_colour(tmp_path):
    image = two_halves().convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.png", transparency=image.getpixel((0, 0)))
    assert_colour(read(tmp_path / "a.png")[4, 4], BEHIND_TRANSPARENT)


def write_text(path):
    path.write_text("not a picture")


def write_truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:-1500])


def write_broken_png(path):
    content = bytearray(encode_png(np.asarray(two_halves(64, 64))))
    content[60] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (write_text, "not a picture"),
        (write_truncated, "truncated"),
        (write_broken_png, ""),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: Image.new("RGB", (1, 1)).save(path), "1x1 pixels are too few"),
        (lambda path: Image.new("RGB", (100, 7)).save(path), "at least 8 a side"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.symlink_to("nowhere"), "No such file"),
    ],
)
def test_broken_files_give_a_reason_in_one_line(tmp_path, write, reason):
    path = tmp_path / "broken.jpg"
    write(path)
    read_picture = read_photo(path, 32)
    assert read_picture.encoded is None
    assert reason.lower() in read_picture.problem.lower()
    assert "\n" not in read_picture.problem
    assert " at 0x" not in read_picture.problem
