"""Puts trained networks into the package: the averaged weights, in half precision, by name.

    python scripts/ship_networks.py --identity runs/ship/identity --judge runs/ship/judge \\
        --aei runs/ship/aei --hear runs/ship/hear

Networks that are not named stay as they are, and so do those that are named as they come with the
package (`--identity shipped:identity`). AEI-Net must have been trained with that identity
network, HEAR-Net with both: name them together. The model card is written by hand.
"""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceshifter_jax.checkpoints.weights import Weights, read_weights
from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_text
from faceshifter_jax.networks.file import write_network_file
from faceshifter_jax.networks.network import Network
from faceshifter_jax.networks.shipped import FOLDER, PREFIX, SUMS_FILE, is_shipped, read_sums

# Name -> the role of the network, and the networks that it was trained with.
_NETWORKS = {
    "identity": ("identity", ()),
    "judge": ("identity", ()),
    "aei": ("generator", ("identity",)),
    "hear": ("hear", ("identity", "aei")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Puts trained networks into the package.")
    for name, (role, _) in _NETWORKS.items():
        parser.add_argument(f"--{name}", metavar="WORKDIR", help=f"its {role}")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (that of the package)")
    arguments = parser.parse_args()
    try:
        given = {name: getattr(arguments, name) for name in _NETWORKS}
        ship_all({name: path for name, path in given.items() if path}, arguments.out)
    except UserError as error:
        parser.exit(2, f"error: {error}\n")


def ship_all(paths: dict[str, str], out: Path) -> None:
    """Writes the networks of `paths`, name -> workdir."""
    if not paths:
        raise UserError("name a network to ship, such as --judge WORKDIR")
    wanted = {name: entry for name, entry in _NETWORKS.items() if name in paths}
    for name, (_, needed) in wanted.items():
        if missing := [f"--{other}" for other in needed if other not in paths]:
            raise UserError(f"--{name} needs {' and '.join(missing)}, which it was trained with")
    loaded = {name: read_weights(path) for name, path in paths.items()}
    for name, (role, needed) in wanted.items():
        _check(loaded, name, role, needed)
    out.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}
    for name, (role, needed) in wanted.items():
        weights = loaded[name]
        if is_shipped(weights.path):
            hashes[name] = weights.sha256  # Written anew, it would forget where it comes from.
            continue
        source: dict[str, Any] = {
            "family": f"training run of this project, step {weights.step}",
            "file": Path(weights.path).name,
            "sha256": weights.sha256,
            "frozen": {n: {"path": PREFIX + n, "sha256": hashes[n]} for n in needed},
        }
        hashes[name] = ship(name, {role: weights.networks[role]}, source, out)
        size = (out / f"{name}.safetensors").stat().st_size
        print(f"{PREFIX}{name}: step {weights.step:,} of {weights.path}, {size / 1e6:.2f} MB")
    total = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    print(f"wrote {out}: {total / 1e6:.2f} MB together, hashes in {SUMS_FILE}")


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
    sums = read_sums(folder) | {name: hashlib.sha256(file.read_bytes()).hexdigest()}
    lines = [f"{digest}  {one}.safetensors\n" for one, digest in sorted(sums.items())]
    write_text(folder / SUMS_FILE, "".join(lines))
    return content


def _check(loaded: dict[str, Weights], name: str, role: str, needed: tuple[str, ...]) -> None:
    weights = loaded[name]
    if role not in weights.networks:
        raise UserError(f"--{name} {weights.path} holds no {role} network")
    for other in needed:
        if weights.frozen.get(other, {}).get("sha256") != loaded[other].sha256:
            raise UserError(
                f"--{name} {weights.path} was not trained with what is now in "
                f"--{other} {loaded[other].path}"
            )


if __name__ == "__main__":
    main()
