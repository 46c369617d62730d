"""`faceshifter evaluate`: scores a checkpoint by a protocol and writes a report."""

import argparse
from pathlib import Path
from types import ModuleType

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation import protocols
from faceshifter_jax.evaluation.evaluating import (
    Measurement,
    describe,
    evaluate_into,
    make_command,
)
from faceshifter_jax.evaluation.subject import Judge, Subject, load_judge, load_subject
from faceshifter_jax.evaluation.watch import watch

DIRECTORY = "evaluation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="workdir of an aei or hear training, one of its checkpoints, or a network file",
    )
    parser.add_argument(
        "--judge",
        help="identity network that judges, which the training has not seen: a workdir or a "
        "network file (the training's own, with a warning)",
    )
    parser.add_argument(
        "--identity",
        help="the identity network of CHECKPOINT, if it was moved, or for a network file",
    )
    parser.add_argument("--hear", help="HEAR-Net as second stage: a workdir or a network file")
    parser.add_argument(
        "--output",
        help="directory for report.html, report.png, metrics.json and the rest "
        "(WORKDIR/evaluation/PROTOCOL)",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="evaluate every checkpoint of a training that goes on elsewhere, until its last",
    )
    parser.add_argument(
        "--poll-seconds", type=float, help="with --watch: seconds between two looks (10)"
    )
    protocols.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Evaluates and prints the metrics."""
    given = {name: value for name, value in vars(arguments).items() if name != "command"}
    command = make_command(given)
    protocol = protocols.choose_protocol(arguments)
    if arguments.poll_seconds is not None and not arguments.watch:
        raise UserError("--poll-seconds has no effect without --watch: leave it out")
    # Known before anything is read, where the judge is named: mistakes are found at once.
    judge = load_judge(arguments.judge) if arguments.judge else None
    if arguments.watch:
        watch(
            Path(arguments.checkpoint),
            choose_output(arguments, Path(arguments.checkpoint), protocol),
            load=lambda path: load_subject(path, arguments.identity, arguments.hear),
            measure=lambda subject: _measure(arguments, protocol, subject, judge, command),
            poll_seconds=10.0 if arguments.poll_seconds is None else arguments.poll_seconds,
        )
        return
    subject = load_subject(arguments.checkpoint, arguments.identity, arguments.hear)
    output = choose_output(arguments, subject.workdir, protocol)
    measurement = _measure(arguments, protocol, subject, judge, command)
    make_output(output)
    record = evaluate_into(output, subject, measurement)
    print("\n".join([*describe(record), *(f"warning: {text}" for text in record["warnings"])]))
    print(f"wrote {output / 'report.html'}, report.png, metrics.json and values.npz")


def choose_output(
    arguments: argparse.Namespace, workdir: Path | None, protocol: ModuleType
) -> Path:
    """Returns where the files go.

    Raises:
      UserError: nowhere was named for a checkpoint that is a file, or a file was named.
    """
    if arguments.output:
        output = Path(arguments.output)
    elif workdir is None:
        raise UserError(
            f"{arguments.checkpoint} is a file: say with --output where the report goes"
        )
    else:
        output = workdir / DIRECTORY / protocol.NAME
    if output.is_file():
        raise UserError(f"{output} is a file: name a directory with --output")
    return output


def make_output(output: Path) -> None:
    """Makes the output directory; UserError where that is not possible."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}; choose --output") from error


def _measure(
    arguments: argparse.Namespace,
    protocol: ModuleType,
    subject: Subject,
    judge: Judge | None,
    command: str,
) -> Measurement:
    judge = judge or load_judge(subject.identity_path)
    return Measurement(protocol, protocol.prepare(arguments, subject.image_size), judge, command)
