"""`faceshifter device-check`: compile a training step for a TPU or GPU and report its cost."""

import argparse
import contextlib
import functools
import json
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from faceshifter_jax.devices.chips import CHIPS
from faceshifter_jax.devices.device import (
    GpuHost,
    Target,
    check_compiler,
    parse_device,
    prepare_environment,
)
from faceshifter_jax.devices.gpus import known_gpus, memory_fraction
from faceshifter_jax.files import publish_file
from faceshifter_jax.messages import printable
from faceshifter_jax.paths import local_path
from faceshifter_jax.training.config import parse_arguments

EXAMPLES = (
    "faceshifter device-check --config configs/aei.py --device rtx4090 --quick --largest-batch "
    "--config.compute_dtype=bfloat16",
    "faceshifter device-check --config configs/aei.py --device v5e:4x4 "
    "--config.compute_dtype=bfloat16 --config.batch_size=128 --json cost.json",
)
DOES_NOT_FIT = 3
"""Exit code for a step that needs more memory than a device has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments; unknown ones change the config."""
    parser.usage = (
        "faceshifter device-check --config CONFIG --device DEVICE [--quick] [--largest-batch] "
        "[--json FILE] [--overwrite] [--config.KEY=VALUE ...]"
    )
    parser.add_argument(
        "--device",
        required=True,
        help=f"a GPU ({known_gpus()}), several of a host (h100:8), a slice of TPUs (v5e:4x4; "
        f"{', '.join(CHIPS)}), or a file with XLA's description of a GPU",
    )
    parser.add_argument(
        "--largest-batch",
        action="store_true",
        help="look for the largest batch that fits, from config.batch_size on: a few compilations",
    )
    add_shared_arguments(parser)


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares those that `tpu-check` has, too."""
    parser.epilog = (
        "--config.KEY=VALUE changes a setting, as for train.py, whose --workdir is taken and "
        "ignored. Exit code: 0 the step fits, 2 bad input, 3 it does not fit."
    )
    parser.add_argument(
        "--config", required=True, type=local_path, help="as for train.py, such as configs/aei.py"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="take a fraction of the time. TPU: without its fast memory, operations are the same, "
        "memory is an upper bound. GPU: XLA plans the memory and makes no kernels, all figures are "
        "the same",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=local_path, help="write the figures there, too"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing FILE")
    parser.set_defaults(config_flags=[])


def run(arguments: argparse.Namespace) -> int:
    """Compiles the step and prints its cost for each chip; returns the exit code.

    Raises:
      UserError: see `compile_step`; also a compiler is not installed, or FILE cannot be written.
    """
    return check(arguments, parse_device(arguments.device), arguments.largest_batch)


def check(arguments: argparse.Namespace, target: Target, largest: bool = False) -> int:
    """Does what `run` says for a device, with what `add_shared_arguments` declares."""
    # Before the config, which may import jax.
    prepare_environment(target)
    # train.py's own reader: it needs a workdir, and a later one overrides this one.
    flags = ["train.py", f"--config={arguments.config}", "--workdir=unused"]
    config, _ = parse_arguments([*flags, *arguments.config_flags])
    if isinstance(target, GpuHost):
        memory_fraction()
    check_compiler(target)
    with contextlib.ExitStack() as stack:
        file = None
        if arguments.json:
            file = stack.enter_context(publish_file(arguments.json, overwrite=arguments.overwrite))
        # Not earlier: jax reads the environment when it is imported.
        from faceshifter_jax.devices.report import as_record, describe, fits
        from faceshifter_jax.runtime.faults import remedies

        step = _find(arguments, config, target) if largest else _compile(arguments, config, target)
        print("\n".join(describe(step, target, config.batch_size, remedies(config))))
        if file is not None:
            record = _head(arguments, config) | as_record(step, target, config.batch_size)
            file.write_text(json.dumps(record, indent=2) + "\n")
    if arguments.json:
        print(printable(f"wrote {arguments.json}"))
    return 0 if fits(step, target.chip) else DOES_NOT_FIT


def _compile(arguments: argparse.Namespace, config: Any, target: Target) -> Any:
    """Returns the compiled step of `config`, after a line that says that it takes minutes."""
    from faceshifter_jax.devices.compile import QUICKLY, compile_step
    from faceshifter_jax.devices.plan import compile_until_planned

    announce = functools.partial(print, _headline(arguments, config, target), flush=True)
    if arguments.quick and isinstance(target, GpuHost):
        return compile_until_planned(config, target, announce)
    return compile_step(config, target, announce, options=QUICKLY if arguments.quick else {})


def _find(arguments: argparse.Namespace, config: Any, target: Target) -> Any:
    """Returns the step of the largest batch that fits, and puts that batch into `config`."""
    from faceshifter_jax.devices.largest_batch import MOST_PICTURES, find_largest_batch
    from faceshifter_jax.devices.report import fits

    def compile_batch(batch_size: int) -> Any:
        config.batch_size = batch_size
        step = _compile(arguments, config, target)
        verdict = "fits" if fits(step, target.chip) else "does not fit"
        needed = f"{'' if step.costs else 'at least '}{step.needed_bytes / 2**30:.2f} GiB"
        print(f"a batch of {batch_size} needs {needed} of a chip: it {verdict}", flush=True)
        return step

    unit = target.num_chips * config.get("accumulate_steps", 1)
    best, step = find_largest_batch(compile_batch, target.chip, config.batch_size, unit)
    config.batch_size = best or unit
    if not best:
        print(f"no batch fits, not even the smallest, of {unit}")
    elif best > MOST_PICTURES - unit:
        print(f"a batch of {best} fits; larger ones were not tried")
    else:
        print(f"the largest batch that fits: {best}")
    return step


def _head(arguments: argparse.Namespace, config: Any) -> dict[str, Any]:
    """What was asked, for the JSON file."""
    return {
        "config": arguments.config,
        "flags": arguments.config_flags,
        "task": config.task,
        "compute_dtype": config.compute_dtype,
        "quick": arguments.quick,
        "image_size": config.image_size,
        "versions": _versions(("jax", "libtpu", "jax-cuda13-plugin", "jax-cuda12-plugin")),
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _headline(arguments: argparse.Namespace, config: Any, target: Target) -> str:
    size = config.image_size
    minutes = "some minutes" if arguments.quick else "a quarter of an hour or more"
    unit = "GPU" if isinstance(target, GpuHost) else "chip"
    return (
        f"compiling the step of {arguments.config} for {target}: {target.num_chips} "
        f"{unit}{'s' if target.num_chips > 1 else ''}, "
        f"{config.batch_size} pictures of {size}x{size} a step, {config.compute_dtype}; "
        f"this takes minutes, at paper scale {minutes} on two cores"
    )
