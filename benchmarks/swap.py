"""Times our swap against a plain PyTorch port, in turn in one run.

    python benchmarks/swap.py                     # paper scale, some four minutes and 5 GB
    python benchmarks/swap.py --output benchmarks/results/swap.json
    python benchmarks/swap.py --compile           # torch.compile too, some minutes more
    python benchmarks/swap.py --small --rounds 2

Both have the same random weights, and their pictures are compared. Ours is what `faceshifter swap`
runs: uint8 squares in, uint8 squares out, the source's embedding and all that depends on it alone
kept from one target to the next; on a CPU one by one. The port gets float32 pictures and keeps the
embedding too. "new source" adds the identity network (IR-SE50) for one source to each batch. "two
stages" adds HEAR-Net, and for every picture the identity network and AEI-Net's error; the port has
no HEAR-Net, so that row is ours alone. Every figure is a median of rounds. "GFLOP/s" divides the
operations of the plain networks, as `operations.py` counts them, by the time: the same number for
all of them. What cannot run, as `torch.compile` without a C++ compiler, is
reported and left out.
"""

import on_cpu  # noqa: F401

# isort: split
import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from common import (
    Parser,
    at_least,
    check_output,
    machine,
    matrix_rate,
    print_table,
    seconds_in_turns,
    write_json,
)
from flax import linen as nn
from operations import plain_operations

from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.models import AEINet, HEARNet, IResNet
from faceshifter_jax.networks.generator import Generator, SecondStage
from faceshifter_jax.networks.identity import IdentityNetwork
from faceshifter_jax.networks.network import InputFormat
from faceshifter_jax.swapping.stage_functions import Networks
from faceshifter_jax.swapping.stages import build_run, default_batch_size
from faceshifter_jax.swapping.swapper import Swapper
from faceshifter_jax.synthetic import render, sample_attributes, sample_identity

try:
    import torch
    import torch_networks
except ImportError:
    torch = None

_EMBEDDING = 512
_PAPER = {
    "image_size": 256,
    "encoder_channels": (32, 64, 128, 256, 512, 1024, 1024),
    "generator_channels": (1024, 1024, 1024, 1024, 512, 256, 128, 64),
}
_SMALL = {
    "image_size": 64,
    "encoder_channels": (8, 12, 16),
    "generator_channels": (16, 16, 12, 8),
}
_PAPER_HEAR, _SMALL_HEAR = (64, 128, 256, 512, 512), (8, 12, 16)
_PHOTO_SIZE = (720, 1280)
_COMPILED = "torch.compile"
# What a swap includes, as the names of rows end.
_NEW_SOURCE, _TWO_STAGES = "new source", "two stages (no opponent)"


def main() -> int:
    arguments = _parse(sys.argv[1:])
    scale = _SMALL if arguments.small else _PAPER
    depth = 10 if arguments.small else 50
    hear_channels = _SMALL_HEAR if arguments.small else _PAPER_HEAR
    networks = _build_networks(scale, depth, hear_channels)
    record = {
        "machine": machine(),
        "settings": {
            **scale,
            "hear_channels": hear_channels,
            "identity_depth": depth,
            "rounds": arguments.rounds,
        },
        "matrix_gflop_per_second": matrix_rate(512 if arguments.small else 2048),
        "rows": [
            row
            for batch_size in arguments.batches
            for row in _measure(networks, scale, depth, batch_size, arguments)
        ],
        **_time_photo(networks, scale["image_size"], arguments.rounds),
    }
    _print(record)
    if arguments.output:
        write_json(arguments.output, record)
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--batches", type=at_least(1), nargs="+", default=[1, 8], help="1 8")
    parser.add_argument("--rounds", type=at_least(1), default=7, help="measurements of each (7)")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    parser.add_argument("--small", action="store_true", help="tiny networks, 64 pixels")
    parser.add_argument("--output", help="JSON file to write")
    arguments = parser.parse_args(words)
    check_output(parser, arguments.output)
    return arguments


def _build_networks(scale: dict[str, Any], depth: int, hear_channels: tuple[int, ...]) -> Networks:
    """An AEI-Net, an identity network and a HEAR-Net with random weights."""
    size = scale["image_size"]
    module = AEINet(scale["encoder_channels"], scale["generator_channels"])
    identity = IResNet(depth, embedding_size=_EMBEDDING, squeeze_excitation=True)
    hear = HEARNet(hear_channels)
    picture, crop = jnp.zeros((1, size, size, 3)), jnp.zeros((1, 112, 112, 3))
    variables = _draw(module, picture, jnp.zeros((1, _EMBEDDING)))
    return (
        Generator(variables, module),
        IdentityNetwork(_draw(identity, crop), identity, InputFormat(112)),
        SecondStage(_draw(hear, picture, picture), hear),
    )


def _draw(module: nn.Module, *inputs: jax.Array) -> Any:
    """Random variables, whose maps neither vanish nor grow from layer to layer."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    random = np.random.default_rng(0)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        noise = random.standard_normal(leaf.shape, np.float32)
        if path[-1].key in ("var", "scale"):
            return 1 + np.float32(0.2) * np.abs(noise)
        if leaf.ndim < 2:
            return np.float32(0.1) * noise
        return noise * np.float32(np.prod(leaf.shape[:-1]) ** -0.5)

    return jax.tree_util.tree_map_with_path(draw, flax.core.unfreeze(shapes))


def _measure(
    networks: Networks,
    scale: dict[str, Any],
    depth: int,
    batch_size: int,
    arguments: argparse.Namespace,
) -> list[dict]:
    """Times all ways of swapping a batch in turn; a row each."""
    random = np.random.default_rng(batch_size)
    shape = (batch_size, scale["image_size"], scale["image_size"], 3)
    source, target = (random.integers(0, 256, shape, np.uint8) for _ in range(2))
    source = np.repeat(source[:1], batch_size, 0)
    players = _build_ours(networks, source, target)
    if torch is not None:
        players |= _build_opponents(networks, scale, depth, source, target, arguments.compile)
    pictures, failed = _compile(players)
    seconds = seconds_in_turns(
        {name: players[name] for name in pictures}, arguments.rounds, warm_up=0
    )
    operations = _operations(networks, scale, batch_size)
    # The pictures of two stages are others.
    pictures = {name: made for name, made in pictures.items() if _way(name) != _TWO_STAGES}
    return [
        {"batch_size": batch_size, "name": name, **figures}
        | {"grey_levels_from_ours": _difference(pictures["ours"], pictures.get(name))}
        for name, figures in _figures(seconds, operations, batch_size).items()
    ] + [
        {"batch_size": batch_size, "name": name, "seconds_a_picture": None, "failed": reason}
        for name, reason in failed.items()
    ]


def _build_ours(
    networks: Networks, source: np.ndarray, target: np.ndarray
) -> dict[str, Callable[[], np.ndarray]]:
    """Our ways of swapping."""
    batch_size = min(len(target), default_batch_size())
    one_stage = build_run(_folded((*networks[:2], None)), batch_size)
    two_stages = build_run(_folded(networks), batch_size)
    random, changing = np.random.default_rng(0), source.copy()

    def swap(run: Callable = one_stage, source: np.ndarray = source) -> np.ndarray:
        return to_uint8(run(source, target)[:, -1], -1, 1)

    def swap_new_source() -> np.ndarray:
        # Another value of one pixel: another source, of which nothing is cached.
        changing[:, 0, 0] = random.integers(0, 256, 3)
        return swap(source=changing)

    return {
        "ours": swap,
        f"ours, {_NEW_SOURCE}": swap_new_source,
        f"ours, {_TWO_STAGES}": lambda: swap(two_stages),
    }


def _way(name: str) -> str:
    """What the swaps of a row include: `_NEW_SOURCE`, `_TWO_STAGES` or nothing more."""
    return name.partition(", ")[2]


def _figures(
    seconds: dict[str, list[float]], operations: dict[str, float], batch_size: int
) -> dict[str, dict[str, float]]:
    """Time and rate of each; `operations` as of `_operations`."""
    figures = {}
    for name, values in seconds.items():
        gflop = operations[_way(name)] / 1e9
        median = statistics.median(values) / batch_size
        figures[name] = {
            "seconds_a_picture": median,
            "fastest": min(values) / batch_size,
            "gflop_a_picture": gflop,
            "gflop_per_second": gflop / median,
        }
    return figures


def _compile(
    players: dict[str, Callable[[], Any]],
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A first swap of each: the pictures, and why `torch.compile` could make none."""
    pictures, failed = {}, {}
    for name, player in players.items():
        try:
            pictures[name] = _as_pictures(player())
        # Its errors have no class in common.
        except Exception as error:
            if name != _COMPILED:
                raise
            failed[name] = (str(error).strip() or type(error).__name__).splitlines()[0]
    return pictures, failed


def _operations(networks: Networks, scale: dict[str, Any], batch_size: int) -> dict[str, float]:
    """Operations of a picture's swap, plain, by `_way`; a new source is one a batch."""
    generator, identity, second = networks
    size = scale["image_size"]
    picture = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)

    def count_swaps(identities: int) -> float:
        """Of one target, whose attributes are computed once."""
        embeddings = jax.ShapeDtypeStruct((identities, _EMBEDDING), jnp.float32)
        return plain_operations(Generator.swap, generator, picture, embeddings)

    swap, swap_and_error = count_swaps(1), count_swaps(2)
    embed = plain_operations(IdentityNetwork.embed, identity, picture)
    refine = plain_operations(SecondStage.refine, second, picture, picture, picture)
    return {
        "": swap,
        _NEW_SOURCE: swap + embed / batch_size,
        _TWO_STAGES: swap_and_error + embed + refine,
    }


def _folded(networks: Networks) -> Networks:
    generator, identity, second = networks
    second = None if second is None else second.folded()
    return jax.tree.map(jnp.asarray, (generator.folded(), identity.folded(), second))


def _build_opponents(
    networks: Networks,
    scale: dict[str, Any],
    depth: int,
    source: np.ndarray,
    target: np.ndarray,
    compiled: bool,
) -> dict[str, Callable[[], Any]]:
    """The port with the same weights, swapping the same."""
    generator, identity, _ = networks
    net = torch_networks.AEINet(**scale, embedding_size=_EMBEDDING).eval()
    judge = torch_networks.IRSENet(depth, embedding_size=_EMBEDDING).eval()
    torch_networks.load(net, generator.variables)
    torch_networks.load(judge, identity.variables)
    pictures = _to_torch(target)

    def embed() -> torch.Tensor:
        crops = torch_networks.crop_for_identity(_to_torch(source[:1]))
        return torch.nn.functional.normalize(judge(crops)).expand(len(target), -1)

    with torch.inference_mode():
        embedding = embed()

    def run(module: Callable, embed: Callable) -> Callable[[], Any]:
        @torch.inference_mode()
        def swap() -> torch.Tensor:
            return module(pictures, embed())[0]

        return swap

    opponents = {
        "PyTorch eager": run(net, lambda: embedding),
        f"PyTorch eager, {_NEW_SOURCE}": run(net, embed),
    }
    if compiled:
        opponents[_COMPILED] = run(torch.compile(net), lambda: embedding)
    return opponents


def _to_torch(pictures: np.ndarray) -> "torch.Tensor":
    return torch.from_numpy(pictures.transpose(0, 3, 1, 2) / np.float32(127.5) - 1).contiguous()


def _as_pictures(swaps: Any) -> np.ndarray:
    if isinstance(swaps, np.ndarray):
        return swaps
    return to_uint8(swaps.numpy().transpose(0, 2, 3, 1), -1, 1)


def _difference(first: np.ndarray, second: np.ndarray | None) -> int | None:
    return None if second is None else int(np.abs(first.astype(int) - second).max())


def _time_photo(networks: Networks, image_size: int, rounds: int) -> dict[str, Any]:
    """`photo_seconds` of a photograph with one face: found, aligned, swapped and put back."""
    run = build_run(_folded((*networks[:2], None)), 1)
    swapper = Swapper(
        lambda source, target: to_uint8(run(source, target)[:, -1], -1, 1), image_size
    )
    source, face = (
        render(sample_identity(number), sample_attributes(24, occluder="none"), 400)
        for number in (1, 2)
    )
    photo = np.full((*_PHOTO_SIZE, 3), 128, np.uint8)
    photo[160:560, 440:840] = face
    assignment, _ = swapper.assign_source(source)
    seconds = seconds_in_turns({"": lambda: swapper.swap_photo(assignment, photo)}, rounds)[""]
    return {"photo_seconds": statistics.median(seconds)}


def _print(record: dict[str, Any]) -> None:
    settings, rows = record["settings"], record["rows"]
    if record["machine"]["torch"] is None:
        print("torch is not installed: there is no opponent")
    size, rate = settings["image_size"], record["matrix_gflop_per_second"]
    print(f"\nswaps of {size}x{size} pixels; matrix product {rate:.0f} GFLOP/s\n")
    medians = {(row["batch_size"], row["name"]): row["seconds_a_picture"] for row in rows}
    table = []
    for row in rows:
        if "failed" in row:
            continue
        ours = ", ".join(filter(None, ("ours", _way(row["name"]))))
        table.append(
            {
                "batch": row["batch_size"],
                "swap": row["name"],
                "s a picture": row["seconds_a_picture"],
                "fastest": row["fastest"],
                "GFLOP/s": row["gflop_per_second"],
                "of the matrix rate": row["gflop_per_second"] / rate,
                "times ours": row["seconds_a_picture"] / medians[row["batch_size"], ours],
                "grey levels off": row["grey_levels_from_ours"],
            }
        )
    print_table(table)
    for row in rows:
        if "failed" in row:
            print(f"batch {row['batch_size']}, {row['name']} failed: {row['failed']}")
    height, width = _PHOTO_SIZE
    print(f"\na photo of {width}x{height} with one face, whole: {record['photo_seconds']:.3f} s")


if __name__ == "__main__":
    sys.exit(main())
