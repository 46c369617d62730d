"""`faceshifter tpu-check`: `device-check` for TPUs, as it was called before it knew GPUs."""

import argparse

from faceshifter_jax.devices.device_check_command import add_shared_arguments, check
from faceshifter_jax.devices.topology import known_chips, parse_topology, prepare_environment

__all__ = ["EXAMPLES", "add_arguments", "prepare_environment", "run"]

EXAMPLES = (
    "faceshifter tpu-check --config configs/aei.py --topology v5e:4x4 "
    "--config.compute_dtype=bfloat16 --config.batch_size=128",
    "faceshifter tpu-check --config configs/aei.py --topology v5e:2x2 --quick --json cost.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments; unknown ones change the config."""
    parser.usage = (
        "faceshifter tpu-check --config CONFIG --topology TOPOLOGY [--quick] "
        "[--json FILE] [--overwrite] [--config.KEY=VALUE ...]"
    )
    parser.add_argument(
        "--topology",
        required=True,
        help=f"chips and how they are wired, such as v5e:4x4 or v4:2x2x1; known: {known_chips()}",
    )
    add_shared_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compiles the step and prints its cost for each chip; returns the exit code.

    Raises:
      UserError: see `compile_step`; also libtpu is not installed, or FILE cannot be written.
    """
    return check(arguments, parse_topology(arguments.topology))
