"""The arguments of `faceshifter evaluate`."""

import argparse

from faceshifter_jax.evaluation.protocols.options import OPTIONS, options_by_name
from faceshifter_jax.paths import local_path
from faceshifter_jax.runtime.modes import DEFAULT_TIMEOUT_SECONDS, MODES

EXAMPLES = (
    "faceshifter evaluate --checkpoint runs/hear --judge shipped:judge",
    "faceshifter evaluate --checkpoint runs/aei --judge runs/judge --data data/photos -o report",
    "faceshifter evaluate --checkpoint runs/aei --judge runs/judge --watch",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--checkpoint",
        type=local_path,
        help="workdir of an aei or hear training run, one of its checkpoints, or a network file "
        "(default: the networks that come with the package)",
    )
    parser.add_argument(
        "--judge",
        type=local_path,
        help="judging identity network, not seen in training: a workdir or a network file "
        "(default: the training run's own, with a warning)",
    )
    parser.add_argument(
        "--identity",
        type=local_path,
        help="the identity network of CHECKPOINT, if it was moved, or for a network file",
    )
    parser.add_argument(
        "--hear", type=local_path, help="HEAR-Net as second stage: a workdir or a network file"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=local_path,
        help="directory for report.html, report.png, metrics.json and the rest "
        "(default: WORKDIR/evaluation/PROTOCOL)",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="evaluate every checkpoint of a training run in progress elsewhere, until its last",
    )
    parser.add_argument(
        "--poll-seconds", type=float, help="with --watch: seconds between two looks (default: 10)"
    )
    parser.add_argument(
        "--other-alignment",
        action="store_true",
        help="go on where CHECKPOINT or JUDGE was trained on faces aligned otherwise than those of "
        "the evaluation; the report says so",
    )
    _add_protocols(parser)
    _add_processes(parser)


def run(arguments: argparse.Namespace) -> int | None:
    """Evaluates and prints the metrics; returns an exit code where a signal ended a watch."""
    # Not at the top: jax takes seconds, and --help needs none of it.
    from faceshifter_jax.evaluation.evaluate_command import run

    return run(arguments)


def _add_protocols(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protocol",
        choices=tuple(OPTIONS),
        help="what to measure (default: ground-truth, or pairs where --data is given)",
    )
    for options in options_by_name().values():
        option = next(iter(options.values()))
        parser.add_argument(
            option.flag,
            type=option.type,
            choices=option.choices,
            metavar=option.metavar,
            help="; ".join(f"{protocol}: {own.described}" for protocol, own in options.items()),
        )


def _add_processes(parser: argparse.ArgumentParser) -> None:
    """Declares how processes find each other, in the words of `config.distributed`."""
    parser.add_argument(
        "--distributed",
        choices=MODES,
        help="one evaluation in several processes, the same command in each: automatic (asked of "
        "the TPU pod, Slurm, Open MPI or Kubernetes), or coordinator (default: off)",
    )
    parser.add_argument(
        "--coordinator", metavar="HOST:PORT", help="with --distributed coordinator: process 0"
    )
    parser.add_argument(
        "--num-processes", type=int, help="with --distributed coordinator: how many there are"
    )
    parser.add_argument(
        "--process-id", type=int, help="with --distributed coordinator: which one this is, from 0"
    )
    parser.add_argument(
        "--timeout-seconds",
        type=int,
        help="with --distributed: how long to wait for the others "
        f"(default: {DEFAULT_TIMEOUT_SECONDS})",
    )
