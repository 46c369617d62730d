"""The cost of the training step on a TPU, for several variants, from the compiler's figures.

    python benchmarks/tpu.py --variants ours remat --batch 4 8         # a quarter hour each
    python benchmarks/tpu.py --parts aad_7 optimizer --output tpu.json # a minute or two each
    python benchmarks/tpu.py --bytes-by 3                              # where the bytes go

No TPU is needed, libtpu is (`pip install -e '.[tpu-check]'`). Nothing is timed: the figures are of
the program that the chip would run.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

# The modules next to this one.
sys.path.insert(0, str(Path(__file__).parent))

from account import Use, describe_groups, group, uses
from common import Parser, at_least, check_output, write_json

from faceshifter_jax.devices.hlo import Program
from faceshifter_jax.devices.topology import check_libtpu, parse_topology, prepare_environment
from faceshifter_jax.errors import UserError
from faceshifter_jax.training.config import parse_arguments

_GROUPS_SHOWN = 30
STEP = "step"
"""Name of the whole in place of a part."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to compile the same step.

    Attributes:
      what: a line for the reader.
      config: settings that differ, by their names with dots.
      lowering: the platform for which the models choose how to write an operation.
      options: XLA's.
    """

    what: str
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    lowering: str = "tpu"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


VARIANTS = {
    "ours": Variant("as train.py compiles it"),
    "cpu": Variant("operations written as for a CPU, such as strided convolutions", lowering="cpu"),
    "remat": Variant("AAD blocks computed again for their gradients", {"remat": "aad"}),
    "float32": Variant("computed in float32", {"compute_dtype": "float32"}),
    "momentum": Variant(
        "with a first moment in Adam, which the paper's beta1 = 0 does not need",
        {"optimizer.generator.b1": 0.5, "optimizer.discriminator.b1": 0.5},
    ),
    "unsliced": Variant(
        "weights fetched into fast memory whole: XLA counts one fetched in slices again a slice",
        options={"xla_tpu_sliced_prefetch_max_slices": "1"},
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compiles, prints a table and writes it; see `--help`."""
    parsed, flags = _parse(arguments)
    topology, runs = parse_topology(parsed.topology), list(_runs(parsed))
    prepare_environment()
    # Not earlier: jax reads the environment when it is imported.
    from tpu_parts import find_part

    from faceshifter_jax.devices.compile import QUICKLY
    from faceshifter_jax.devices.report import as_record

    config = _read_config(parsed.config, flags)
    for part in parsed.parts:
        if part != STEP:
            find_part(part, config)
    check_libtpu()
    records = []
    print(_HEAD, flush=True)
    for part, name, batch in runs:
        variant = VARIANTS[name]
        if parsed.quick:
            variant = dataclasses.replace(variant, options={**variant.options, **QUICKLY})
        step = _compile(part, variant, batch, topology, parsed.config, flags)
        figures = as_record(step, topology, batch * topology.num_chips)
        groups = []
        if step.costs is not None:
            program = Program(step.costs.program)
            found = list(uses(program))
            figures |= _count_bytes(program, found, figures, topology.chip)
            groups = group(found, parsed.bytes_by) if parsed.bytes_by else []
        print(_row(part, name, batch, figures), flush=True)
        if groups:
            print("where the memory traffic goes:")
            print("\n".join(describe_groups(groups, _GROUPS_SHOWN)))
        figures["bytes_by"] = [dataclasses.asdict(one) for one in groups]
        records.append({"part": part, "variant": name, "per_chip": batch, **figures})
        if parsed.output:
            write_json(parsed.output, _describe(parsed, flags) | {"runs": records})


def _count_bytes(
    program: Program, found: Sequence[Use], figures: Mapping[str, Any], chip: Any
) -> dict[str, Any]:
    """Our own count of the bytes that a step moves, and the roofline (Williams et al.) with it."""
    traffic = sum(use.memory_bytes for use in found)
    compute, memory = figures["compute_seconds"], traffic / chip.bytes_per_second
    return {
        "memory_traffic": traffic,
        "collectives": {
            kind: dataclasses.asdict(moved) for kind, moved in program.collectives().items()
        },
        "memory_seconds": memory,
        "bound": "compute" if compute >= memory else "memory",
        "pictures_per_second": figures["pictures_per_second"] * compute / max(compute, memory),
    }


def _describe(parsed: argparse.Namespace, flags: list[str]) -> dict[str, Any]:
    """What was compiled, and by which versions."""
    versions = {package: metadata.version(package) for package in ("jax", "libtpu")}
    what = {"config": parsed.config, "flags": flags, "quick": parsed.quick}
    return {**what, "versions": versions}


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = Parser(__doc__)
    names = "; ".join(f"{name}: {variant.what}" for name, variant in VARIANTS.items())
    parser.add_argument("--config", default="configs/aei.py")
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--variants", nargs="+", default=["ours"], help=names)
    parser.add_argument("--batch", nargs="+", default=["8"], help="pictures a chip")
    parser.add_argument(
        "--parts",
        nargs="+",
        default=[STEP],
        help="aad_K, discriminator_K, upsample, attribute_loss, optimizer, or step, the whole",
    )
    parser.add_argument(
        "--quick", action="store_true", help="as `faceshifter tpu-check --quick` compiles"
    )
    parser.add_argument(
        "--bytes-by",
        type=at_least(1),
        metavar="DEPTH",
        help="also say where the memory traffic goes, by the first DEPTH names of modules: 1 is "
        "by network, 3 by level of the AEI-Net",
    )
    parser.add_argument("--output", help="JSON file to write")
    parsed, flags = parser.parse_known_args(arguments)
    wrong = [flag for flag in flags if not flag.startswith("--config.")]
    if wrong:
        parser.error(f"unknown arguments: {' '.join(wrong)}")
    check_output(parser, parsed.output)
    return parsed, flags


def _runs(parsed: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    for part in parsed.parts:
        for name in parsed.variants:
            if name not in VARIANTS:
                raise UserError(f"no variant {name!r}: there are {', '.join(VARIANTS)}")
            for batch in parsed.batch:
                if not batch.isdigit() or int(batch) < 1:
                    raise UserError(f"--batch takes numbers of pictures, not {batch!r}")
                yield part, name, int(batch)


def _compile(
    part: str, variant: Variant, batch: int, topology: Any, config_path: str, flags: list[str]
) -> Any:
    """Compiles one run; returns a `devices.compile.CompiledStep`."""
    from tpu_parts import build_part

    from faceshifter_jax.devices.compile import compile_function, compile_step, tracing_for

    config = _read_config(config_path, flags)
    config.update_from_flattened_dict(dict(variant.config))
    config.batch_size = batch * topology.num_chips
    how = {"lowering": variant.lowering, "options": variant.options}
    if part == STEP:
        return compile_step(config, topology, **how)
    with tracing_for(variant.lowering):
        function, shapes = build_part(part, config)
    return compile_function(function, shapes, topology, **how)


def _read_config(path: str, flags: list[str]) -> Any:
    """The config, bfloat16 unless the flags say otherwise."""
    paths = ["train.py", f"--config={path}", "--workdir=unused"]
    return parse_arguments([*paths, "--config.compute_dtype=bfloat16", *flags])[0]


_HEAD = (
    f"{'part':16s} {'variant':10s} {'batch':>5s} {'memory GB':>10s} {'XLA GB':>8s} "
    f"{'TFLOP':>7s} {'needs GiB':>10s} {'compiled in s':>14s}"
)


def _row(part: str, name: str, batch: int, figures: Mapping[str, Any]) -> str:
    """A line of the table; a program that does not fit has no costs."""
    row = f"{part:16s} {name:10s} {batch:5d} "
    if "memory_traffic" not in figures:
        row += f"{'-':>10s} {'-':>8s} {'-':>7s} "
    else:
        row += (
            f"{figures['memory_traffic'] / 1e9:10.2f} {figures['bytes_accessed'] / 1e9:8.2f} "
            f"{figures['flops'] / 1e12:7.3f} "
        )
    return row + f"{figures['needed_bytes'] / 2**30:10.2f} {figures['compile_seconds']:14.0f}"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
