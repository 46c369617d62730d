"""The trained networks that come with the package, used by name: `shipped:identity`.

They are network files, NAME.safetensors, in `pretrained/`, next to a model card and SHA256SUMS,
which `sha256sum -c` also reads.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_text
from faceshifter_jax.networks.file import write_network_file
from faceshifter_jax.networks.network import Network

PREFIX = "shipped:"
FOLDER = Path(__file__).parent / "pretrained"
SUMS_FILE, CARD_FILE = "SHA256SUMS", "MODEL_CARD.md"


def is_shipped(path: str | os.PathLike) -> bool:
    """Whether `path` is a name such as `shipped:identity`."""
    return os.fspath(path).startswith(PREFIX)


def shipped_names() -> list[str]:
    """The names of the networks that come with this copy of the package, without `shipped:`."""
    return sorted(_read_sums())


def find_shipped(path: str | os.PathLike) -> Path:
    """Finds the file that a name means, and checks that it is the one that was recorded.

    Raises:
      UserError: the name is unknown, or the file is missing or has changed.
    """
    name = os.fspath(path).removeprefix(PREFIX)
    sums = _read_sums()
    if name not in sums:
        known = ", ".join(PREFIX + one for one in sorted(sums))
        raise UserError(
            f"no network called {os.fspath(path)!r} comes with this copy of the package"
            + (f": there are {known}" if known else ", nor any other: name a workdir or a file")
        )
    file = FOLDER / f"{name}.safetensors"
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"cannot read {file}: {error.strerror}; install the package again"
        ) from error
    if found != sums[name]:
        raise UserError(
            f"{file} is not the file that {SUMS_FILE} next to it records: install the package again"
        )
    return file


def default_checkpoint(*, with_second_stage: bool = True) -> str:
    """Returns the name of the default network that swaps faces: HEAR-Net, else AEI-Net.

    Args:
      with_second_stage: whether a HEAR-Net is wanted.

    Raises:
      UserError: none comes with this copy of the package.
    """
    names = shipped_names()
    wanted = [name for name in ("hear", "aei") if name != "hear" or with_second_stage]
    for name in wanted:
        if name in names:
            return PREFIX + name
    raise UserError(
        "--checkpoint is missing, and no trained networks come with this copy of the package: "
        "name the workdir of a training run, or a converted network"
    )


def describe_default(path: str) -> str:
    """Returns the line that reports which default networks are used."""
    return f"using {path}, which comes with the package; {FOLDER / CARD_FILE} says what it is for"


def ship(
    name: str, networks: Mapping[str, Network], source: Mapping[str, Any], folder: Path
) -> str:
    """Writes a network file with parameters in half precision, and records its hash.

    Args:
      name: what it is called without `shipped:`.
      networks: role -> network.
      source: see `write_network_file`.
      folder: where to.

    Returns:
      the content hash of the file, as `write_network_file`.

    Raises:
      UserError: it cannot be written, or weights are too large for half precision.
    """
    file = folder / f"{name}.safetensors"
    content = write_network_file(file, networks, source, half_precision=True)
    sums = _read_sums(folder) | {name: hashlib.sha256(file.read_bytes()).hexdigest()}
    lines = [f"{digest}  {one}.safetensors\n" for one, digest in sorted(sums.items())]
    write_text(folder / SUMS_FILE, "".join(lines))
    return content


def _read_sums(folder: Path | None = None) -> dict[str, str]:
    """Name -> SHA-256 of its file."""
    path = (folder or FOLDER) / SUMS_FILE
    if not path.is_file():
        return {}
    entries = (line.split() for line in path.read_text().splitlines())
    return {file.removesuffix(".safetensors"): digest for digest, file in entries}
