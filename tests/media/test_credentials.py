"""Signed content credentials: written, read back, and refused where a picture was changed."""

import datetime
import json

import numpy as np
import pytest

pytest.importorskip("c2pa")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from faceshifter_jax import cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.media.photo_files import publish_photo
from faceshifter_jax.media.photos import Photo
from faceshifter_jax.media.provenance import credentials
from faceshifter_jax.media.provenance.credentials import Signer, read_credentials
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.media.provenance.statement import COMPOSITE_WITH_SYNTHETIC, Provenance

STATEMENT = Provenance(checkpoint_sha256="c" * 64, identity_sha256="1" * 64)


def certify(name, key, issuer, issuer_key, is_root):
    def called(text):
        attributes = (NameOID.COMMON_NAME, text), (NameOID.ORGANIZATION_NAME, "Studio")
        return x509.Name([x509.NameAttribute(*pair) for pair in attributes])

    now, usage = datetime.datetime.now(datetime.UTC), dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False)  # fmt: skip
    builder = (
        x509.CertificateBuilder(called(issuer), called(name), key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(is_root, None), True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage
            ),
            True,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if not is_root:
        email = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(email, False)
    signed = builder.sign(issuer_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The files of a certificate that a root of its own signed, and of its key."""
    folder = tmp_path_factory.mktemp("keys")
    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = certify("Ann", key, "Root", root, False) + certify("Root", root, "Root", root, True)
    (folder / "chain.pem").write_bytes(chain)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return folder / "chain.pem", folder / "key.pem"


def save(path, signer, values=None):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    with publish_photo(path, signer=signer) as write:
        write(Photo(pixels, "it", values), STATEMENT)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_every_format_is_signed_and_holds_both_statements(suffix, pair, tmp_path, capsys):
    path = save(tmp_path / f"a{suffix}", Signer(*pair))
    found = read_credentials(path)
    assert found is not None
    assert (found.state, found.signed_by) == ("Valid", "Ann, Studio")
    assert found.software == f"faceshifter_jax {STATEMENT.software_version}"
    assert found.digital_source_type == COMPOSITE_WITH_SYNTHETIC
    assert found.networks == {"checkpoint_sha256": "c" * 64, "identity_sha256": "1" * 64}
    assert read_provenance(path) == STATEMENT
    plain = save(tmp_path / f"plain{suffix}", None)
    assert read_credentials(plain) is None
    np.testing.assert_array_equal(Image.open(path), Image.open(plain))

    assert cli.main(["inspect", str(path), str(plain), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["content_credentials"]["signed_by"] == "Ann, Studio"
    assert first["swapped_by_faceshifter_jax"]
    assert "content_credentials" not in second


def test_sixteen_bits_are_signed(pair, tmp_path):
    path = save(tmp_path / "a.png", Signer(*pair), np.zeros((40, 60, 3), np.uint16))
    found = read_credentials(path)
    assert found is not None
    assert found.state == "Valid"


def test_a_changed_picture_is_told(pair, tmp_path, capsys):
    path = save(tmp_path / "a.jpg", Signer(*pair))
    content = bytearray(path.read_bytes())
    content[-400] ^= 255
    path.write_bytes(content)
    assert cli.main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "NOT VALID" in printed
    assert "a face in it was swapped by faceshifter_jax" in printed


def test_what_cannot_sign_is_one_line(pair, tmp_path, monkeypatch, capsys):
    chain, key = pair
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for wrong in ((junk, key), (chain, junk), (chain, tmp_path / "none.pem")):
        with pytest.raises(UserError, match=r"cannot (sign with|read) ") as caught:
            Signer(*wrong)
        assert "\n" not in str(caught.value)
    path = save(tmp_path / "a.png", Signer(*pair))
    monkeypatch.setattr(credentials, "_is_installed", lambda: False)
    with pytest.raises(UserError, match=r"pip install 'faceshifter-jax\[c2pa\]'"):
        Signer(*pair)
    assert cli.main(["inspect", str(path)]) == 0
    assert "may have content credentials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target=film.mp4", "--output=o.mp4"], "--sign is for photos"),
        (["--target=t.png", "--output=o.png", "--no-provenance"], "--no-provenance"),
        (["--target=t.png", "--output=o.png"], "cannot read chain.pem"),
    ],
)
def test_signing_that_cannot_be_is_refused_first(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("t.png")
    (tmp_path / "film.mp4").write_bytes(b"")
    command = [
        "swap",
        "--source=t.png",
        *words,
        "--checkpoint=run",
        "--sign",
        "chain.pem",
        "key.pem",
    ]
    assert cli.main(command) == 2
    assert message in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["film.mp4", "t.png"]
