"""The provenance statement in outputs of every format, next to statements of other software."""

import os

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax import __version__, cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.photo_files import publish_photo
from faceshifter_jax.media.photos import Metadata, Photo
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.media.provenance.statement import COMPOSITE_WITH_SYNTHETIC, Provenance
from faceshifter_jax.media.provenance.xmp import DC, IPTC_EXTENSION, TIFF, name, read_properties

OURS = Provenance(checkpoint_sha256="c" * 64, identity_sha256="1" * 64)
CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
OTHERS = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
  xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
  xmlns:Iptc4xmpExt="{IPTC_EXTENSION}" xmlns:tiff="{TIFF}" xmlns:dc="{DC}">
<rdf:Description rdf:about="" tiff:Orientation="6" dc:format="image/jpeg">
  <Iptc4xmpExt:DigitalSourceType rdf:resource="{CAPTURE}"/>
  <dc:creator><rdf:Seq><rdf:li>A. Body</rdf:li></rdf:Seq></dc:creator>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


def save(path, xmp=None, provenance=OURS, values=None):
    pixels = np.full((8, 9, 3), 90, np.uint8)
    with publish_photo(path, marked=provenance is not None) as write:
        write(Photo(pixels, "it", values, Metadata(xmp=xmp)), provenance)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"])
def test_every_format_says_it(suffix, tmp_path):
    path = save(tmp_path / f"a{suffix}")
    assert read_provenance(path) == OURS
    assert COMPOSITE_WITH_SYNTHETIC.encode() in path.read_bytes()
    assert read_provenance(save(tmp_path / f"plain{suffix}", provenance=None)) is None


def test_sixteen_bits_say_it_too(tmp_path):
    values = np.zeros((8, 9, 3), np.uint16)
    assert read_provenance(save(tmp_path / "a.png", values=values)) == OURS


def test_pairs_lead_there_and_back():
    both = Provenance("c" * 64, "2" * 64, "1" * 64)
    for provenance in (OURS, both):
        pairs = provenance.to_pairs()
        assert all(isinstance(value, str) for value in pairs.values())
        assert pairs["digital_source_type"] == COMPOSITE_WITH_SYNTHETIC
        assert pairs["software_version"] == __version__
        assert Provenance.from_pairs(pairs | {"title": "a film"}) == provenance
    assert "hear_sha256" not in OURS.to_pairs()
    assert Provenance.from_pairs({"title": "a film"}) is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_what_others_say_stays_unless_it_is_no_longer_true(suffix, tmp_path):
    path = save(tmp_path / f"a{suffix}", OTHERS)
    assert read_provenance(path) == OURS
    with Image.open(path) as image:
        packet = image.info["xmp"]
    assert b"A. Body" in packet
    assert CAPTURE.encode() not in packet
    properties = read_properties(packet)
    assert properties[name(DC, "format")] == "image/jpeg"
    assert name(TIFF, "Orientation") not in properties


def test_the_same_packet_again_says_it_once():
    again = OURS.to_xmp(OURS.to_xmp())
    assert again.count(b"CheckpointSHA256>") == 2
    assert Provenance.from_xmp(again) == OURS


@pytest.mark.parametrize(
    "packet",
    [
        b"no packet",
        b"<a",
        b"\xff\xfe",
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        b"<x>" * 100_000,
        OTHERS[: len(OTHERS) // 2],
    ],
)
def test_packets_that_cannot_be_read_are_replaced(packet, tmp_path):
    assert Provenance.from_xmp(packet) is None
    assert Provenance.from_xmp(OURS.to_xmp(packet)) == OURS
    assert read_provenance(save(tmp_path / "a.png", packet)) == OURS


def test_a_packet_too_large_for_jpeg_gives_way(tmp_path):
    large = OTHERS.replace(b"A. Body", b"A. Body" * 20_000)
    assert read_provenance(save(tmp_path / "a.jpg", large)) == OURS


def run_inspect(capsys, *paths):
    code = cli.main(["inspect", *map(str, paths)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_inspect_prints_what_is_there_and_that_nothing_is(tmp_path, capsys):
    ours, none = save(tmp_path / "a.webp"), save(tmp_path / "b.png", provenance=None)
    camera = save(tmp_path / "c.png", OTHERS, provenance=None)
    code, out, _ = run_inspect(capsys, ours, none, camera)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{ours}: a face in it was swapped by faceshifter_jax {__version__}"
    assert any(line.endswith(COMPOSITE_WITH_SYNTHETIC) for line in lines)
    assert any("checkpoint" in line and line.endswith("c" * 64) for line in lines)
    assert f"{none}: no statement of where the picture comes from" in out
    assert f"{camera}: it says where it comes from, and not that this software" in out
    assert lines[-1].endswith(CAPTURE)


def test_inspect_of_what_is_no_picture_is_one_line(tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("hello")
    for path, reason in (
        ("text.jpg", "not a picture"),
        ("none.png", "not exist"),
        (".", "a folder"),
    ):
        code, out, error = run_inspect(capsys, tmp_path / path)
        assert (code, out, error.count("\n")) == (2, "", 1)
        assert reason in error
    with pytest.raises(UserError):
        read_provenance(tmp_path / "none.png")


def test_inspect_goes_on_after_a_bad_file(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    good = save(tmp_path / "a.png")
    names = [tmp_path / "none.png", good, tmp_path / "pipe.png", good]
    code, out, error = run_inspect(capsys, *names)
    assert code == 2
    assert out.count(f"{good}: a face in it was swapped") == 2
    assert error.splitlines() == [
        f"error: {names[0]} does not exist",
        f"error: {names[2]} is a pipe or a device",
    ]
