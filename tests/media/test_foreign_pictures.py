"""Pictures as people have them, and as nobody should: formats, metadata and what is left out."""

import ast
import io
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from faceshifter_jax.data.occlusion.cutouts_folder import FolderCutouts
from faceshifter_jax.errors import UserError
from faceshifter_jax.media import folders
from faceshifter_jax.media.images import read_photo
from faceshifter_jax.media.opening import NoPictureError, open_picture
from faceshifter_jax.media.photo_files import publish_photo
from faceshifter_jax.media.photos import load_photo
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.media.provenance.statement import Provenance

HEIGHT, WIDTH = 24, 40
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Draws for ever where Ghostscript runs it, and says so.
ENDLESS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n{} loop\n"


@pytest.fixture
def pixels():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 6, y * 10, 200 - x * 2 - y * 2], -1).astype(np.uint8)


def rewrite(photo, path, provenance=None):
    with publish_photo(path, marked=provenance is not None) as write:
        return write(photo, provenance)


@pytest.mark.parametrize("name", ["x.png", "x.eps", "x.jpg", "x", "x.tif"])
def test_postscript_is_no_picture_wherever_pictures_are_read(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(ENDLESS)
    begin = time.monotonic()
    with pytest.raises(UserError, match="it is not a picture in any known format"):
        load_photo(path)
    assert "not a picture" in read_photo(path, 32).problem
    with pytest.raises(UserError, match="not a picture or video"):
        read_provenance(path)
    with pytest.raises(NoPictureError):
        open_picture(ENDLESS)
    if name == "x.png":
        with pytest.raises(UserError, match="cannot be used"):
            FolderCutouts(tmp_path, 32)
    assert time.monotonic() - begin < 5


def test_every_call_that_opens_pictures_names_their_formats():
    """Without a list Pillow tries all that it knows, PostScript too."""
    top = Path(__file__).parents[2]
    calls = [
        (path.name, call)
        for folder in ("faceshifter_jax", "benchmarks", "scripts", "configs")
        for path in sorted((top / folder).rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("Image.open")
    ]
    assert len(calls) >= 5
    assert [
        name for name, call in calls if "formats" not in [word.arg for word in call.keywords]
    ] == []


@pytest.mark.parametrize("kind", ["TGA", "PCX", "ICO", "SGI", "DDS", "QOI"])
def test_formats_that_are_not_listed_are_not_opened(kind, pixels, tmp_path):
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png", format=kind)
    with pytest.raises(UserError, match="it is not a picture in any known format"):
        load_photo(tmp_path / "a.png")


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name, reason in (("pipe.png", "it is a pipe"), ("zero.jpg", "it is a device")):
        with pytest.raises(UserError, match="is a folder or the like, not a picture"):
            load_photo(tmp_path / name)
        assert reason in read_photo(tmp_path / name, 32).problem
    with pytest.raises(UserError, match="pipe"):
        FolderCutouts(tmp_path, 32)


@pytest.mark.parametrize("suffix", [".jpe", ".jfif", ".avif", ".jp2", ".heic", ""])
def test_more_formats_are_read(suffix, pixels, tmp_path):
    path = tmp_path / f"a{suffix}"
    kind = {".avif": "AVIF", ".jp2": "JPEG2000", "": "WEBP"}.get(suffix, "JPEG")
    if suffix == ".heic":
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.register_heif_opener()
        kind = "HEIF"
    Image.fromarray(pixels).save(path, format=kind, quality=95)
    assert [file.name for file in folders.read_folder(tmp_path).pictures] == [path.name]
    difference = np.abs(load_photo(path).pixels.astype(int) - pixels)
    assert difference.mean() < 4
    assert read_photo(path, 32).problem is None


def test_without_its_package_heic_says_what_to_install(pixels, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    Image.fromarray(pixels).save(tmp_path / "a.heic", format="HEIF")
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from faceshifter_jax.media.photos import load_photo\n"
        f"load_photo({str(tmp_path / 'a.heic')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'faceshifter-jax[swap]'" in done.stderr.splitlines()[-1]


def save_dng(path, pixels, tag):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag[0]] = tag[1]
    Image.fromarray(pixels).save(path, format="TIFF", tiffinfo=tags)


@pytest.mark.parametrize("name", ["a.dng", "a.tif"])
@pytest.mark.parametrize("tag", [(50706, b"\1\4\0\0"), (254, 1)])
def test_the_preview_of_a_raw_photograph_is_not_the_picture(name, tag, pixels, tmp_path):
    save_dng(tmp_path / name, pixels, tag)
    with pytest.raises(UserError, match="raw photograph: develop it"):
        load_photo(tmp_path / name)
    assert "raw photograph" in read_photo(tmp_path / name, 32).problem


def test_folders_count_and_name_what_they_leave_out(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    (tmp_path / "b").mkdir()
    for name in ("b/raw.dng", "b/film.mov", "c.psd", "readme.txt", "LICENSE", ".hidden.dng"):
        (tmp_path / name).write_text("none")
    found = folders.read_folder(tmp_path)
    assert [file.name for file in found.pictures] == ["a.jpg"]
    assert found.others == ["b/film.mov", "b/raw.dng", "c.psd"]
    note = found.note()
    assert "left out 3 files" in note
    assert all(name in note for name in ("b/film.mov", "b/raw.dng", "c.psd", "1 .txt"))
    assert "developed first" in note
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"holds no picture.*b/raw\.dng"):
        folders.read_folder(tmp_path)


def test_palettes_keep_their_profile(pixels, tmp_path):
    Image.fromarray(pixels).quantize(16).save(tmp_path / "a.png", icc_profile=SRGB)
    photo = load_photo(tmp_path / "a.png")
    assert photo.metadata.icc_profile == SRGB
    rewrite(photo, tmp_path / "b.png")
    assert load_photo(tmp_path / "b.png").metadata.icc_profile == SRGB


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_is_turned_once(compression, pixels, tmp_path):
    tags = {ExifTags.Base.Orientation: 6}
    Image.fromarray(pixels).save(tmp_path / "a.tif", tiffinfo=tags, compression=compression)
    np.testing.assert_array_equal(load_photo(tmp_path / "a.tif").pixels, np.rot90(pixels, -1))


def directory(entries, start):
    """A TIFF directory at `start`: (tag, type, count, bytes) each, then what is not in place."""
    body, after = struct.pack("<H", len(entries)), b""
    place = start + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        if len(value) > 4:
            body += struct.pack("<HHII", tag, kind, count, place + len(after))
            after += value
        else:
            body += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return body + bytes(4) + after


def exif_block(main=(), capture=(), places=()):
    main = [(0x010F, 2, 5, b"ACME\0"), *main]
    place = 8 + 2 + 12 * (len(main) + 2) + 4 + sum(len(e[3]) for e in main if len(e[3]) > 4)
    of_capture = directory(capture, place)
    main += [
        (34665, 4, 1, struct.pack("<I", place)),
        (34853, 4, 1, struct.pack("<I", place + len(of_capture))),
    ]
    of_places = directory(places, place + len(of_capture))
    return b"II*\0\x08\0\0\0" + directory(main, 8) + of_capture + of_places


def save_with_exif(path, pixels, block):
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=95)
    content, segment = encoded.getvalue(), b"Exif\0\0" + block
    length = struct.pack(">H", len(segment) + 2)
    path.write_bytes(content[:2] + b"\xff\xe1" + length + segment + content[2:])


TIME, RATIONAL = (0x9003, 2, 20, b"2020:01:02 03:04:05\0"), struct.pack("<II", 1, 60)
BAD_BLOCKS = {
    "GPS time as text": exif_block(capture=[TIME], places=[(7, 2, 9, b"12:34:56\0")]),
    "0 / 0": exif_block([(0x011A, 5, 1, bytes(8))], [TIME, (0x829A, 5, 1, bytes(8))]),
    "orientation as text": exif_block([(0x0112, 2, 2, b"6\0")], [TIME]),
    "orientation 99": exif_block([(0x0112, 3, 1, b"\x63\0")], [TIME]),
    "orientations": exif_block([(0x0112, 3, 2, b"\x63\0\6\0")], [TIME]),
    "short as double": exif_block([(0x0128, 12, 1, b"\1\0")], [TIME]),
    "unknown type": exif_block([(0x0132, 77, 1, b"\1\0")], [TIME]),
    "places before the start": exif_block([(0x0131, 2, 9, b"a" * 9)], [TIME])[:60],
    "cut off": exif_block([], [TIME])[:-30],
    "no block": b"hello",
    "negative": exif_block([(0x011A, 10, 1, struct.pack("<ii", -1, -2))], [TIME]),
}


@pytest.mark.parametrize("name", BAD_BLOCKS)
def test_broken_exif_loses_no_picture(name, pixels, tmp_path):
    save_with_exif(tmp_path / "a.jpg", pixels, BAD_BLOCKS[name])
    photo = load_photo(tmp_path / "a.jpg")
    assert photo.pixels.shape == pixels.shape
    assert read_photo(tmp_path / "a.jpg", 32).problem is None
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        rewrite(photo, tmp_path / f"b{suffix}")
        assert load_photo(tmp_path / f"b{suffix}").pixels.shape == pixels.shape


def test_of_broken_exif_the_rest_is_kept_and_the_user_told(pixels, tmp_path):
    save_with_exif(tmp_path / "a.jpg", pixels, BAD_BLOCKS["GPS time as text"])
    photo = load_photo(tmp_path / "a.jpg")
    assert any("EXIF is damaged" in note for note in photo.notes)
    rewrite(photo, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        exif = image.getexif()
        assert exif[ExifTags.Base.Make] == "ACME"
        assert exif.get_ifd(ExifTags.IFD.Exif)[0x9003] == "2020:01:02 03:04:05"
        assert not exif.get_ifd(ExifTags.IFD.GPSInfo)


def test_exif_that_a_jpeg_cannot_hold_is_left_out_with_a_note(pixels, tmp_path):
    comment = b"ASCII\0\0\0" + b"x" * 70_000
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {0x9286: comment}
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    photo = load_photo(tmp_path / "a.png")
    (note,) = rewrite(photo, tmp_path / "b.jpg")
    assert "64 KB of EXIF" in note
    assert rewrite(photo, tmp_path / "b.png") == []
    with Image.open(tmp_path / "b.png") as image:
        assert len(image.getexif().get_ifd(ExifTags.IFD.Exif)[0x9286]) == len(comment)


PHONE_XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"
 xmlns:Container="http://ns.google.com/photos/1.0/container/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/"
 xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/"
 xmlns:xmpNote="http://ns.adobe.com/xmp/note/"
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 hdrgm:Version="1.0" GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"
 GCamera:MicroVideoOffset="4711" GDepth:Format="RangeInverse" xmpNote:HasExtendedXMP="ABCDEF">
 <dc:creator><rdf:Seq><rdf:li>A. Photographer</rdf:li></rdf:Seq></dc:creator>
 <dc:subject><rdf:Bag><rdf:li>holiday</rdf:li><rdf:li>Anna Old</rdf:li></rdf:Bag></dc:subject>
 <Iptc4xmpExt:PersonInImage><rdf:Bag><rdf:li>Anna Old</rdf:li></rdf:Bag>
 </Iptc4xmpExt:PersonInImage>
 <mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag><rdf:li
  rdf:parseType="Resource"><mwg-rs:Name>Anna Old</mwg-rs:Name></rdf:li></rdf:Bag>
 </mwg-rs:RegionList></mwg-rs:Regions>
 <Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item
  Item:Mime="video/mp4" Item:Semantic="MotionPhoto" Item:Length="4711"/></rdf:li></rdf:Seq>
 </Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"""
STALE = (b"hdrgm", b"MotionPhoto", b"4711", b"GDepth", b"RangeInverse", b"Anna", b"ABCDEF")


@pytest.mark.parametrize("provenance", [None, Provenance(checkpoint_sha256="0" * 64)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_what_is_no_longer_true_goes_and_the_user_is_told(suffix, provenance, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.jpg", xmp=PHONE_XMP)
    film = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(100)
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(film)
    photo = load_photo(tmp_path / "a.jpg")
    for words in ("gain map", "film in it", "depth map", "names of people"):
        assert any(words in note for note in photo.notes), photo.notes
    rewrite(photo, tmp_path / f"b{suffix}", provenance)
    content = (tmp_path / f"b{suffix}").read_bytes()
    assert not [stale for stale in STALE if stale in content]
    assert b"A. Photographer" in content
    assert b"holiday" in content


def test_an_ordinary_photo_has_no_notes(pixels, tmp_path):
    for suffix in (".jpg", ".png", ".webp", ".tif", ".avif", ".gif"):
        Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
        assert load_photo(tmp_path / f"a{suffix}").notes == ()


def test_frames_and_further_pictures_are_counted(pixels, tmp_path):
    frames = [Image.fromarray(np.roll(pixels, shift, 1)) for shift in range(3)]
    for name in ("a.png", "a.webp", "a.gif", "a.tif", "a.avif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert load_photo(tmp_path / name).notes == ("of its 3 frames the first is taken",)
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert load_photo(tmp_path / "a.jpg").notes == ("of its 3 pictures the first is taken",)
