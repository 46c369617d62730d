"""`faceshifter inspect`: reports the statements in files of where their pictures come from."""

import argparse
import sys

from faceshifter_jax.errors import UserError
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.media.provenance.statement import (
    COMPOSITE_WITH_SYNTHETIC,
    SOFTWARE,
    Provenance,
)
from faceshifter_jax.messages import printable
from faceshifter_jax.paths import local_path

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=local_path, help="pictures and videos to look into"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints each file's statement; returns 2, after all files, if one cannot be read."""
    code = 0
    for path in arguments.files:
        try:
            print("\n".join(describe(path, read_provenance(path))), flush=True)
        except UserError as error:
            print(f"error: {printable(str(error))}", file=sys.stderr)
            code = 2
    return code


def describe(name: str, provenance: Provenance | None) -> list[str]:
    """Returns the lines for a reader: a verdict, then what the file says."""
    name = printable(name)
    if provenance is None:
        return [f"{name}: {_NOTHING}"]
    if provenance.software == SOFTWARE:
        verdict = f"a face in it was swapped by {SOFTWARE} {provenance.software_version or ''}"
    elif provenance.digital_source_type == COMPOSITE_WITH_SYNTHETIC:
        verdict = "partly made by a trained network"
    else:
        verdict = "it says where it comes from, and not that this software swapped a face in it"
    lines = [f"  {_LABELS[key]:26s} {text}" for key, text in provenance.to_pairs().items()]
    return [f"{name}: {verdict.strip()}", *map(printable, lines)]
