"""`faceshifter convert`: converts published weights to a network file."""

import argparse
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import jax

from faceshifter_jax.convert import overrides
from faceshifter_jax.convert.families.family import Converted
from faceshifter_jax.convert.recognise import KNOWN, convert_file
from faceshifter_jax.errors import UserError
from faceshifter_jax.messages import printable
from faceshifter_jax.networks.file import write_network_file
from faceshifter_jax.networks.network import Network
from faceshifter_jax.places import check_replaceable

_logger = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> None:
    """Converts FILE to OUT and reports what it was."""
    if arguments.list:
        print("\n".join(KNOWN))
        return
    if not arguments.file or not arguments.out:
        raise UserError("name a file and where to write, `faceshifter convert FILE OUT`; or --list")
    source, out = Path(arguments.file), Path(arguments.out)
    _check_paths(source, out, arguments.overwrite)
    converted = overrides.override(convert_file(source), arguments, str(source))
    facts = {"family": converted.family, "file": source.name, "notes": list(converted.notes)}
    if source.is_file():
        with source.open("rb") as file:
            facts["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    write_network_file(out, converted.networks, facts)
    _print_found(converted)
    print(printable(f"wrote {out} ({out.stat().st_size / 1e6:.0f} MB)"))


def _check_paths(source: Path, out: Path, overwrite: bool) -> None:
    if not source.exists():
        raise UserError(f"no such file: {source}")
    if out.suffix != ".safetensors":
        raise UserError(f"{out} must end in .safetensors, the format that is written")
    try:
        if out.is_dir() or not out.parent.is_dir():
            raise UserError(f"cannot write {out}: name a file in a directory that exists")
        if os.path.lexists(out) and not overwrite:
            raise UserError(f"{out} exists: name another file, or add --overwrite")
        check_replaceable(out, overwrite=True)
        if out.exists() and out.samefile(source):
            raise UserError(f"{out} is the file to be converted: name another file")
    except OSError as error:
        raise UserError(f"cannot write {out.name[:60]}...: {error.strerror}") from error


def _print_found(converted: Converted) -> None:
    print(f"found: {converted.family}")
    for role, network in converted.networks.items():
        print(f"  {role}: {_describe(network)}")
        for line in overrides.describe_feeding(network):
            print(f"    {line}")
    for note in converted.notes:
        _logger.info("note: %s", note)


def _describe(network: Network) -> str:
    count = sum(leaf.size for leaf in jax.tree.leaves(network.variables["params"]))
    facts: list[Any] = [network.architecture, f"{count / 1e6:.2f} M parameters"]
    if network.input is not None:
        taken = network.input
        facts.append(f"takes {taken.size}x{taken.size} {taken.channel_order.upper()} pictures")
        facts.append(f"scaled as (x - {taken.mean:g}) / {taken.scale:g}")
        facts.append(f"gives {network.embedding_size} numbers")
    elif network.embedding_size is not None:
        facts.append(f"takes embeddings of {network.embedding_size} numbers")
    if network.image_size is not None:
        facts.append(f"pictures of {network.image_size} pixels")
    return ", ".join(facts)
