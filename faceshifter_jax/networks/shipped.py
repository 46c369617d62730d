"""The trained networks that come with the package, used by name: `shipped:identity`.

They are network files, NAME.safetensors, in `pretrained/`, next to a model card and SHA256SUMS,
which `sha256sum -c` also reads.
"""

import hashlib
import os
from pathlib import Path

from faceshifter_jax.errors import UserError

PREFIX = "shipped:"
FOLDER = Path(__file__).parent / "pretrained"
SUMS_FILE, CARD_FILE = "SHA256SUMS", "MODEL_CARD.md"


def is_shipped(path: str | os.PathLike) -> bool:
    """Whether `path` is a name such as `shipped:identity`."""
    return os.fspath(path).startswith(PREFIX)


def shipped_names() -> list[str]:
    """The names of the networks that come with this copy of the package, without `shipped:`."""
    return sorted(read_sums())


def find_shipped(path: str | os.PathLike) -> Path:
    """Finds the file that a name means, and checks that it is the one that was recorded.

    Raises:
      UserError: the name is unknown, or the file is missing or has changed.
    """
    name = os.fspath(path).removeprefix(PREFIX)
    sums = read_sums()
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


def read_sums(folder: Path | None = None) -> dict[str, str]:
    """The networks in a folder, the package's if None: name -> SHA-256 of its file."""
    path = (folder or FOLDER) / SUMS_FILE
    if not path.is_file():
        return {}
    entries = (line.split() for line in path.read_text().splitlines())
    return {file.removesuffix(".safetensors"): digest for digest, file in entries}
