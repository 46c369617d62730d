"""`faceshifter export`: a trained swap, or one of its networks, for programs without this one."""

import argparse
import json
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import publish_file
from faceshifter_jax.paths import local_path

EXAMPLES = (
    "faceshifter export runs/hear swap.onnx --format onnx",
    "faceshifter export shipped:hear swap.stablehlo --batch 8",
    "faceshifter export ghost.safetensors aei.onnx --format onnx --part aei --masks",
)
PLATFORMS = ("cpu", "cuda", "tpu")
ANY = "any"
PARTS = {
    "swap": "source and target to the result of all stages",
    "aei": "target and embedding to the swap",
    "hear": "swap, heuristic error and target to the result",
    "identity": "picture to embedding",
}
"""What can be exported -> what it does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "checkpoint",
        type=local_path,
        help="workdir of an aei or hear training run, a converted generator, or a network that "
        "comes with the package, such as shipped:hear",
    )
    parser.add_argument(
        "out", type=local_path, help="file to write, such as swap.onnx; OUT.json describes it"
    )
    parser.add_argument(
        "--format",
        choices=("stablehlo", "onnx"),
        default="stablehlo",
        help="what is written; onnx needs the extra of that name",
    )
    parser.add_argument(
        "--part",
        choices=PARTS,
        default="swap",
        help="; ".join(f"{name}: {purpose}" for name, purpose in PARTS.items()),
    )
    parser.add_argument(
        "--masks", action="store_true", help="of --part aei: also the masks, level by level"
    )
    parser.add_argument(
        "--batch",
        type=_batch,
        metavar="N",
        help="pictures that it takes at once, or 'any' (default: any for onnx, 1 for stablehlo, "
        "which a CPU computes faster for a number)",
    )
    parser.add_argument(
        "--identity",
        type=local_path,
        help="identity network, for a converted generator, or if the training run's was moved",
    )
    parser.add_argument("--hear", type=local_path, help="HEAR-Net as second stage")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(arguments: argparse.Namespace) -> None:
    """Writes the program and its description."""
    _check(arguments)
    with (
        publish_file(arguments.out, overwrite=arguments.overwrite) as program,
        publish_file(f"{arguments.out}.json", overwrite=arguments.overwrite) as description,
    ):
        content, facts = _export(arguments)
        program.write_bytes(content)
        description.write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{arguments.out}: {len(content) / 2**20:.1f} MB, {_describe(facts)}")


def _batch(text: str) -> int | str:
    return ANY if text == ANY else int(text)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.masks and arguments.part != "aei":
        raise UserError(f"--masks goes with --part aei, not with --part {arguments.part}")
    if isinstance(arguments.batch, int) and arguments.batch < 1:
        raise UserError(f"--batch must be at least 1, not {arguments.batch}")


def _export(arguments: argparse.Namespace) -> tuple[bytes, dict[str, Any]]:
    """Returns the file's content, and the facts on it."""
    # Not at the top: jax takes seconds, and --help needs none of it.
    from faceshifter_jax.swapping.export_parts import load_part
    from faceshifter_jax.swapping.onnx_export import check_converter, export_onnx
    from faceshifter_jax.swapping.stablehlo import export_stablehlo

    batch = arguments.batch or (ANY if arguments.format == "onnx" else 1)
    rows = None if batch == ANY else batch
    if arguments.format == "onnx":
        check_converter()
    networks = (arguments.checkpoint, arguments.identity, arguments.hear)
    part = load_part(arguments.part, *networks, masks=arguments.masks)
    facts = {
        "part": arguments.part,
        **{
            key: {name: {**one, "shape": [batch, *one["shape"]]} for name, one in arrays.items()}
            for key, arrays in (("inputs", part.inputs), ("outputs", part.outputs))
        },
        **part.facts,
    }
    if arguments.format == "onnx":
        content, told = export_onnx(part, rows, facts)
    else:
        content, told = export_stablehlo(part, rows)
    return content, {**told, **facts}


def _describe(facts: dict[str, Any]) -> str:
    def shown(arrays: dict[str, Any]) -> str:
        return ", ".join(
            f"{name} {'x'.join(map(str, one['shape']))} {one['dtype']}"
            for name, one in arrays.items()
        )

    where = f", for {', '.join(facts['platforms'])}" if "platforms" in facts else ""
    return f"{shown(facts['inputs'])} to {shown(facts['outputs'])}{where}"
