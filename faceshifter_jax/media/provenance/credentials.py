"""Content credentials (C2PA): a signed statement of where a picture comes from, next to XMP.

Anyone can write or remove XMP; credentials say who signed, and no longer fit a picture that was
changed. They need the package c2pa-python (extra `c2pa`), and a certificate of whoever signs
(C2PA specification 2.2, https://spec.c2pa.org).
"""

import functools
import importlib.util
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.opening import read_picture_file
from faceshifter_jax.media.provenance.statement import SOFTWARE, Provenance

_logger = logging.getLogger(__name__)
# What every file with credentials holds (boxes of JUMBF, ISO 19566-5), in whatever format.
_MARKS = (b"jumb", b"c2pa")
_NETWORKS = "io.github.faceshifter-jax.networks"
_INSTALL = "pip install 'faceshifter-jax[c2pa]'"
_MIME = {
    ".png": "image/png",
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "image/jpeg"),
    ".webp": "image/webp",
    **dict.fromkeys((".tif", ".tiff"), "image/tiff"),
}
_STATES = {
    "Valid": "the picture is as it was signed; the certificate is of nobody on a list of trust",
    "Trusted": "the picture is as it was signed, by somebody on a list of trust",
}
_CHANGED = "NOT VALID: the picture or its statement is not as it was signed"


@dataclass(frozen=True)
class Credentials:
    """What a file's credentials say.

    Attributes:
      state: "Trusted", "Valid" or "Invalid", as the library judges them.
      signed_by: the name and the organisation of the certificate.
      software: what made the picture, or None.
      digital_source_type: a term of IPTC's vocabulary, as its IRI, or None.
      networks: SHA-256 of this software's networks, by name.
    """

    state: str
    signed_by: str
    software: str | None
    digital_source_type: str | None
    networks: Mapping[str, str]

    def describe(self) -> dict[str, str]:
        """Returns what to show, label -> text."""
        texts = {
            "content credentials": _STATES.get(self.state, _CHANGED),
            "signed by": self.signed_by,
            "made by": self.software,
            "digital source type": self.digital_source_type,
            **self.networks,
        }
        return {label: text for label, text in texts.items() if text}

    def to_record(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {
            "state": self.state,
            "signed_by": self.signed_by,
            "software": self.software,
            "digital_source_type": self.digital_source_type,
            **self.networks,
        }


class Signer:
    """Signs pictures with somebody's key."""

    def __init__(self, chain: str | Path, key: str | Path):
        """
        Args:
          chain: PEM file of certificates, the signer's own first.
          key: PEM file of its private key, of ECDSA on P-256 (es256), in PKCS 8.

        Raises:
          UserError: c2pa-python is not installed, a file cannot be read, or they do not fit.
        """
        if not _is_installed():
            raise UserError(f"--sign needs c2pa-python: {_INSTALL}")
        import c2pa

        info = c2pa.C2paSignerInfo(b"es256", _read(chain), _read(key), None)
        both = f"with {chain} and {key}"
        self._signer = _in_one_line(f"cannot sign {both}", c2pa.Signer.from_info, info)
        # A certificate may be refused at its first use only.
        probe = io.BytesIO()
        Image.new("RGB", (8, 8)).save(probe, "PNG")
        self._sign(probe.getvalue(), "image/png", Provenance(), both)

    def sign(self, content: bytes, suffix: str, provenance: Provenance) -> bytes:
        """Returns a picture's file with credentials that say what `provenance` says."""
        return self._sign(content, _MIME[suffix], provenance, f"a {suffix} file")

    def _sign(self, content: bytes, kind: str, provenance: Provenance, name: str) -> bytes:
        import c2pa

        signed = io.BytesIO()
        with c2pa.Builder(_manifest(provenance)) as builder:
            arguments = (self._signer, kind, io.BytesIO(content), signed)
            _in_one_line(f"cannot sign {name}", builder.sign, *arguments)
        return signed.getvalue()


@functools.cache
def load_signer(chain: str, key: str) -> Signer:
    """Returns `Signer(chain, key)`, the same one for all pictures of a folder."""
    return Signer(chain, key)


def read_credentials(path: Path) -> Credentials | None:
    """Reads a picture's credentials; None if it has none, or is of another kind of file.

    Raises:
      UserError: it has some, and they cannot be read.
    """
    kind = _MIME.get(path.suffix.lower())
    content = read_picture_file(path) if kind else b""
    if not all(mark in content for mark in _MARKS):
        return None
    if not _is_installed():
        _logger.warning(f"{path} may have content credentials, which {_INSTALL} reads")
        return None
    import c2pa

    try:
        with c2pa.Reader(kind, io.BytesIO(content)) as reader:
            return _from_manifests(json.loads(reader.json()))
    except c2pa.C2paError as error:
        if type(error).__name__.endswith("ManifestNotFound"):
            return None
        raise UserError(f"cannot read the content credentials of {path}: {_line(error)}") from error


def _manifest(provenance: Provenance) -> dict[str, Any]:
    agent = {"name": SOFTWARE, "version": provenance.software_version or ""}
    networks = {k: v for k, v in provenance.to_pairs().items() if k.endswith("_sha256")}
    action = {
        "action": "c2pa.created",
        "digitalSourceType": provenance.digital_source_type,
        "softwareAgent": agent,
    }
    assertions = [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}]
    if networks:
        assertions.append({"label": _NETWORKS, "data": networks})
    return {"claim_generator_info": [agent], "assertions": assertions}


def _from_manifests(store: Mapping[str, Any]) -> Credentials:
    manifest = store["manifests"][store["active_manifest"]]
    parts = {part["label"]: part.get("data", {}) for part in manifest.get("assertions", ())}
    actions = parts.get("c2pa.actions.v2", parts.get("c2pa.actions", {})).get("actions", ())
    types = [action["digitalSourceType"] for action in actions if "digitalSourceType" in action]
    made_by = (manifest.get("claim_generator_info") or [{}])[0]
    software = f"{made_by.get('name', '')} {made_by.get('version', '')}".strip()
    signature = manifest.get("signature_info") or {}
    who = [signature.get(key) for key in ("common_name", "issuer")]
    return Credentials(
        state=store.get("validation_state", "Invalid"),
        signed_by=", ".join(dict.fromkeys(filter(None, who))),
        software=software or manifest.get("claim_generator"),
        digital_source_type=types[0] if types else None,
        networks={k: str(v) for k, v in parts.get(_NETWORKS, {}).items()},
    )


def _is_installed() -> bool:
    return importlib.util.find_spec("c2pa") is not None


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _in_one_line(what: str, function: Any, *arguments: Any) -> Any:
    import c2pa

    try:
        return function(*arguments)
    except c2pa.C2paError as error:
        raise UserError(f"{what}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
