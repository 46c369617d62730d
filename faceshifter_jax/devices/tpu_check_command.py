"""`faceshifter tpu-check`: compile a training step for TPUs and report its cost."""

import argparse
import contextlib
import functools
import json
from importlib import metadata
from typing import Any

from faceshifter_jax.devices.topology import (
    Topology,
    check_libtpu,
    known_chips,
    parse_topology,
    prepare_environment,
)
from faceshifter_jax.files import publish_file
from faceshifter_jax.messages import printable
from faceshifter_jax.paths import local_path
from faceshifter_jax.training.config import parse_arguments

EXAMPLES = (
    "faceshifter tpu-check --config configs/aei.py --topology v5e:4x4 "
    "--config.compute_dtype=bfloat16 --config.batch_size=128",
    "faceshifter tpu-check --config configs/aei.py --topology v5e:2x2 --quick --json cost.json",
)
DOES_NOT_FIT = 3
"""Exit code for a step that needs more memory than a chip has."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments; unknown ones change the config."""
    parser.usage = (
        "faceshifter tpu-check --config CONFIG --topology TOPOLOGY [--quick] "
        "[--json FILE] [--overwrite] [--config.KEY=VALUE ...]"
    )
    parser.epilog = (
        "--config.KEY=VALUE changes a setting, as for train.py, whose --workdir is taken and "
        "ignored. Exit code: 0 the step fits, 2 bad input, 3 it does not fit."
    )
    parser.add_argument(
        "--config", required=True, type=local_path, help="as for train.py, such as configs/aei.py"
    )
    parser.add_argument(
        "--topology",
        required=True,
        help=f"chips and how they are wired, such as v5e:4x4 or v4:2x2x1; known: {known_chips()}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="compile in about a fifth of the time, without the fast memory: operations are the "
        "same, memory an upper bound",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=local_path, help="write the figures there, too"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing FILE")
    parser.set_defaults(config_flags=[])


def run(arguments: argparse.Namespace) -> int:
    """Compiles the step and prints its cost for each chip; returns the exit code.

    Raises:
      UserError: see `compile_step`; also libtpu is not installed, or FILE cannot be written.
    """
    topology = parse_topology(arguments.topology)
    # train.py's own reader: it needs a workdir, and a later one overrides this one.
    flags = ["train.py", f"--config={arguments.config}", "--workdir=unused"]
    config, _ = parse_arguments([*flags, *arguments.config_flags])
    check_libtpu()
    prepare_environment()
    with contextlib.ExitStack() as stack:
        file = None
        if arguments.json:
            file = stack.enter_context(publish_file(arguments.json, overwrite=arguments.overwrite))
        # Not earlier: jax reads the environment when it is imported.
        from faceshifter_jax.devices.compile import QUICKLY, compile_step
        from faceshifter_jax.devices.report import as_record, describe, fits
        from faceshifter_jax.runtime.faults import remedies

        headline = _headline(arguments, config, topology)
        announce = functools.partial(print, headline, flush=True)
        options = QUICKLY if arguments.quick else {}
        step = compile_step(config, topology, announce, options=options)
        print("\n".join(describe(step, topology, config.batch_size, remedies(config))))
        if file is not None:
            record = {
                "config": arguments.config,
                "flags": arguments.config_flags,
                "task": config.task,
                "compute_dtype": config.compute_dtype,
                "quick": arguments.quick,
                "image_size": config.image_size,
                **as_record(step, topology, config.batch_size),
                "versions": {name: metadata.version(name) for name in ("jax", "libtpu")},
            }
            file.write_text(json.dumps(record, indent=2) + "\n")
    if arguments.json:
        print(printable(f"wrote {arguments.json}"))
    return 0 if fits(step, topology.chip) else DOES_NOT_FIT


def _headline(arguments: argparse.Namespace, config: Any, topology: Topology) -> str:
    size = config.image_size
    minutes = "some minutes" if arguments.quick else "a quarter of an hour or more"
    return (
        f"compiling the step of {arguments.config} for {topology}: {topology.num_chips} chips, "
        f"{config.batch_size} pictures of {size}x{size} a step, {config.compute_dtype}; "
        f"this takes minutes, at paper scale {minutes} on two cores"
    )
