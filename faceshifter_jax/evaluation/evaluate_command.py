"""`faceshifter evaluate`: scores a checkpoint by a protocol and writes a report."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation import processes
from faceshifter_jax.evaluation.alignment import (
    check_alignment,
    check_judge,
    check_side,
    find_alignment_of_faces,
)
from faceshifter_jax.evaluation.evaluate import (
    Measurement,
    describe,
    evaluate_into,
    made_directory,
    make_command,
)
from faceshifter_jax.evaluation.model import Judge, Subject, load_judge, load_subject
from faceshifter_jax.evaluation.protocols import registry
from faceshifter_jax.evaluation.protocols.options import OF_CHECKPOINT
from faceshifter_jax.evaluation.watch import watch
from faceshifter_jax.messages import printable
from faceshifter_jax.networks.shipped import PREFIX, default_checkpoint, describe_default
from faceshifter_jax.runtime.distributed import check_same_everywhere, is_first_process, together

DIRECTORY = "evaluation"
_NOT_OF_RESULT = ("command", "log_level")
# Where processes with different ones would wait for each other; the protocols have some more.
_SAME = ("watch", "poll_seconds")


def run(arguments: argparse.Namespace) -> int | None:
    """Evaluates and prints the metrics; returns an exit code where a signal ended a watch."""
    given = {name: value for name, value in vars(arguments).items() if name not in _NOT_OF_RESULT}
    command = make_command(given)
    protocol = registry.choose_protocol(arguments)
    if arguments.poll_seconds is not None and not arguments.watch:
        raise UserError("--poll-seconds has no effect without --watch: leave it out")
    note = "" if arguments.checkpoint else _take_shipped(arguments)
    with processes.connected(arguments):
        if note and is_first_process():
            print(note)
        return _evaluate(arguments, protocol, command)


def _take_shipped(arguments: argparse.Namespace) -> str:
    """Fills in the networks that come with the package, and their judge; a line that says so."""
    if arguments.watch:
        raise UserError("--watch needs --checkpoint: name the workdir of a training run")
    arguments.checkpoint = default_checkpoint(with_second_stage=not arguments.hear)
    arguments.judge = arguments.judge or f"{PREFIX}judge"
    return f"{describe_default(arguments.checkpoint)}; {arguments.judge} judges"


def _evaluate(arguments: argparse.Namespace, protocol: ModuleType, command: str) -> int | None:
    same = (*registry.common_settings(), *_SAME)
    options = {f"--{name.replace('_', '-')}": getattr(arguments, name) for name in same}
    check_same_everywhere({"the protocol": protocol.NAME, **options})
    # Known before anything is read, where the judge is named: mistakes are found at once.
    with together():
        alignment = find_alignment_of_faces(arguments, protocol, None)
        judge = load_judge(arguments.judge, alignment) if arguments.judge else None
    if arguments.watch:
        return watch(
            Path(arguments.checkpoint),
            choose_output(arguments, Path(arguments.checkpoint), protocol),
            load=lambda path: load_subject(path, arguments.identity, arguments.hear),
            measure=lambda subject: _measure(arguments, protocol, subject, judge, command),
            fixed_second_stage=bool(arguments.hear),
            poll_seconds=10.0 if arguments.poll_seconds is None else arguments.poll_seconds,
        )
    with together():
        subject = load_subject(arguments.checkpoint, arguments.identity, arguments.hear)
        output = choose_output(arguments, subject.workdir, protocol)
    with ExitStack() as stack:
        with together():
            if is_first_process():
                stack.enter_context(made_directory(output))
        measurement = _measure(arguments, protocol, subject, judge, command)
        record = evaluate_into(output, subject, measurement)
    print("\n".join([*describe(record), *(f"warning: {text}" for text in record["warnings"])]))
    print(printable(f"wrote {output / 'report.html'}, report.png, metrics.json and values.npz"))
    return None


def choose_output(
    arguments: argparse.Namespace, workdir: Path | None, protocol: ModuleType
) -> Path:
    """Returns where the files go.

    Raises:
      UserError: nowhere was named for a checkpoint that is not a training run's, or a file was
      named.
    """
    if arguments.output:
        output = Path(arguments.output)
    elif workdir is None:
        raise UserError(
            f"{arguments.checkpoint} has no workdir: say with --output where the report goes"
        )
    else:
        output = workdir / DIRECTORY / protocol.NAME
    if output.is_file():
        raise UserError(f"{output} is a file: name a directory with --output")
    return output


def _measure(
    arguments: argparse.Namespace,
    protocol: ModuleType,
    subject: Subject,
    judge: Judge | None,
    command: str,
) -> Measurement:
    with together():
        alignment = find_alignment_of_faces(arguments, protocol, subject.alignment)
        warnings = check_alignment(arguments, protocol, subject.alignment)
        warnings += check_side(arguments.checkpoint, subject.side, subject.image_size)
        if judge is None or judge.alignment != alignment:
            judge = load_judge(arguments.judge or subject.identity_path, alignment)
        warnings += check_judge(arguments, judge, subject.identity_sha256)
    check_same_everywhere({"the size of the pictures": subject.image_size})
    cut = {"alignment": subject.alignment} if protocol.ALIGNMENT == OF_CHECKPOINT else {}
    data = protocol.prepare(arguments, subject.image_size, **cut)
    return Measurement(protocol, data, judge, command, tuple(warnings))
