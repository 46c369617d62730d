"""`faceshifter inspect`: reports the statements in files of where their pictures come from."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.provenance.credentials import Credentials, read_credentials
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.media.provenance.statement import (
    COMPOSITE_WITH_SYNTHETIC,
    SOFTWARE,
    Provenance,
)
from faceshifter_jax.messages import printable
from faceshifter_jax.paths import local_path

EXAMPLES = ("faceshifter inspect swap.png", "faceshifter inspect *.jpg --json")
_logger = logging.getLogger(__name__)
_LABELS = {
    "digital_source_type": "digital source type",
    "software": "software",
    "software_version": "its version",
    "checkpoint_sha256": "checkpoint, SHA-256",
    "hear_sha256": "HEAR-Net, SHA-256",
    "identity_sha256": "identity network, SHA-256",
}
_NOTHING = (
    "no statement of where the picture comes from: it may be an original, or the statement was "
    "never written or was removed"
)
_SIGNED_ALONE = "no statement in XMP of where the picture comes from, but content credentials"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=local_path, help="pictures and videos to look into"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list of all files")


def run(arguments: argparse.Namespace) -> int:
    """Prints each file's statement; returns 2, after all files, if one cannot be read."""
    records = []
    for path in arguments.files:
        try:
            provenance, credentials = read_provenance(path), read_credentials(Path(path))
            records.append(as_record(path, provenance, credentials))
            if not arguments.json:
                print("\n".join(describe(path, provenance, credentials)), flush=True)
        except UserError as error:
            _logger.error(str(error))
            records.append({"file": path, "error": str(error)})
    if arguments.json:
        print(json.dumps(records, indent=2))
    return 2 if any("error" in record for record in records) else 0


def as_record(
    name: str, provenance: Provenance | None, credentials: Credentials | None = None
) -> dict[str, Any]:
    """The statement for a program, or None; and credentials where there are any."""
    signed = credentials is not None and (credentials.software or "").startswith(SOFTWARE)
    return {
        "file": name,
        "swapped_by_faceshifter_jax": signed
        or (provenance is not None and provenance.software == SOFTWARE),
        "statement": None if provenance is None else provenance.to_pairs(),
    } | ({} if credentials is None else {"content_credentials": credentials.to_record()})


def describe(
    name: str, provenance: Provenance | None, credentials: Credentials | None = None
) -> list[str]:
    """Returns the lines for a reader: a verdict, then what the file says."""
    name = printable(name)
    said = credentials.describe() if credentials else {}
    signed = [printable(f"  {label:26s} {text}") for label, text in said.items()]
    if provenance is None:
        return [f"{name}: {_SIGNED_ALONE if signed else _NOTHING}", *signed]
    if provenance.software == SOFTWARE:
        verdict = f"a face in it was swapped by {SOFTWARE} {provenance.software_version or ''}"
    elif provenance.digital_source_type == COMPOSITE_WITH_SYNTHETIC:
        verdict = "partly made by a trained network"
    else:
        verdict = "it says where it comes from, and not that this software swapped a face in it"
    lines = [f"  {_LABELS[key]:26s} {text}" for key, text in provenance.to_pairs().items()]
    return [f"{name}: {verdict.strip()}", *map(printable, lines), *signed]
