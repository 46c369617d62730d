"""One evaluation of one checkpoint, from its networks to its files."""

import contextlib
import dataclasses
import datetime
import logging
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from faceshifter_jax import __version__
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.findings import Findings, build_record, write_record
from faceshifter_jax.evaluation.ledger import (
    COMPARABLE,
    DamagedLines,
    append_to_ledger,
    is_number_or_none,
    mend_ledger,
    read_ledger,
    read_lines,
)
from faceshifter_jax.evaluation.model import Judge, Subject
from faceshifter_jax.evaluation.presentation import format_interval, format_value, pleases_the_judge
from faceshifter_jax.evaluation.report.charts import Point
from faceshifter_jax.evaluation.report.html_report import write_html
from faceshifter_jax.evaluation.report.image_grid import write_report
from faceshifter_jax.places import check_replaceable
from faceshifter_jax.runtime import distributed
from faceshifter_jax.runtime.metrics_file import METRICS_FILE
from faceshifter_jax.runtime.tensorboard_files import build_writer

_logger = logging.getLogger(__name__)
STEPS_DIRECTORY = "steps"
_WRITTEN = ("report.html", "report.png", "metrics.json", "values.npz")
_POINTS, _LOSSES = 200, 6
_LONG = ("breakdowns", "jackknife", "shown_as")
# What all processes of one evaluation must have in common, and how it is called if they have not.
_SAME = {
    "checkpoint_sha256": "the checkpoint",
    "hear_sha256": "the second stage",
    "identity_sha256": "the identity network",
    "judge_sha256": "the judge",
    "data_sha256": "the data",
    "image_size": "the size of the pictures",
}


@dataclass(frozen=True)
class Measurement:
    """The way checkpoints are measured, which is the same for all of a training run.

    Attributes:
      protocol: one of `PROTOCOLS`.
      data: what its `prepare` gave.
      judge: the identity network that judges.
      command: what was typed.
      warnings: what a reader of the metrics must know.
    """

    protocol: ModuleType
    data: Any
    judge: Judge
    command: str
    warnings: tuple[str, ...] = ()

    def key(self) -> dict[str, Any]:
        """The facts that comparable evaluations share: `ledger.COMPARABLE`."""
        facts = {
            **self.data.facts,
            "protocol": self.protocol.NAME,
            "protocol_version": self.protocol.VERSION,
            "judge_sha256": self.judge.sha256,
        }
        return {name: facts.get(name) for name in COMPARABLE}


@contextlib.contextmanager
def made_directory(output: Path) -> Iterator[None]:
    """Makes a directory for results; it goes again where what is inside fails and leaves it empty.

    A damaged ledger in it is set aside, and stderr says so.

    Raises:
      UserError: that is not possible, or something in the way of a result cannot be replaced.
    """
    new = [path for path in (output, *output.parents) if not path.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Root may write where nothing can be written.
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}; choose --output") from error
    for name in _WRITTEN:
        check_replaceable(output / name, overwrite=True)
    steps = output / STEPS_DIRECTORY
    for path in (steps, *(steps.iterdir() if steps.is_dir() else ())):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise UserError(f"{path} is not a folder of evaluations: remove it, or choose --output")
    _mend_ledger(output)
    try:
        yield
    except BaseException:
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def evaluate_into(
    output: Path, subject: Subject, measurement: Measurement, *, on_top: bool = True
) -> dict[str, Any]:
    """Evaluates a checkpoint and writes all files of it; the ledger's line comes last.

    All processes evaluate; the first one writes.

    Args:
      output: an existing directory of the first process.
      subject: the checkpoint.
      measurement: how.
      on_top: whether the reports, metrics.json and values.npz in `output` itself are replaced.
        Those of a training run's checkpoint are also in `output`/steps/STEP, where the next one's
        do not replace them.

    Returns:
      what metrics.json holds.

    Raises:
      UserError: the processes have different networks or data, or something cannot be written.
    """
    facts = _facts(subject, measurement)
    distributed.check_same_everywhere({words: facts[name] for name, words in _SAME.items()})
    findings = measurement.protocol.evaluate(measurement.data, subject, measurement.judge)
    findings = dataclasses.replace(findings, declared=measurement.protocol.METRICS)
    with distributed.together():
        record = build_record(findings, facts)
        if distributed.is_first_process():
            _write(output, subject, measurement.protocol, findings, record, on_top)
    return record


def _write(
    output: Path,
    subject: Subject,
    protocol: ModuleType,
    findings: Findings,
    record: Mapping[str, Any],
    on_top: bool,
) -> None:
    entry = _entry(record, findings.metrics())
    if subject.workdir:
        directory = output / STEPS_DIRECTORY / str(subject.step)
        directory.mkdir(parents=True, exist_ok=True)
        write_record(directory, findings, record)
    if on_top:
        # Once more: the work took long.
        _mend_ledger(output)
        write_report(findings.samples, output / "report.png")
        write_html(
            output / "report.html",
            findings,
            record,
            headlines=protocol.HEADLINES,
            tables=protocol.TABLES,
            history=[*read_ledger(output), entry],
            training=read_losses(subject.workdir),
        )
        write_record(output, findings, record)
    _write_scalars(output, entry)
    append_to_ledger(output, entry)


def describe(record: Mapping[str, Any]) -> list[str]:
    """Returns a line for each metric: its value, its interval, and whether it pleases the judge."""
    lines = []
    for name in record["intervals"]:
        said = (format_interval(name, record), pleases_the_judge(name, record))
        shown = "".join(f"  {text}" for text in said if text)
        lines.append(f"{name:32s} {format_value(name, record):>12s}{shown}")
    return lines


def describe_stages(subject: Subject) -> str:
    """Names the networks that swap."""
    return "AEI-Net and HEAR-Net" if subject.has_second_stage else "AEI-Net"


def warnings_of(subject: Subject, judge: Judge) -> list[str]:
    """Returns what a reader of the metrics must know."""
    if judge.sha256 != subject.identity_sha256:
        return []
    return [
        "the judge is the identity network of the training run, which learned to please it: use "
        "another one"
    ]


def make_command(arguments: Mapping[str, Any]) -> str:
    """Returns the command that has these arguments, as one would type it."""
    words = ["faceshifter", "evaluate"]
    for name, value in arguments.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value not in (None, False):
            words += [option, str(value)]
    return shlex.join(words)


def read_losses(workdir: Path | None) -> dict[str, list[Point]]:
    """Reads a training run's losses over its steps, thinned out; empty if there are none."""
    try:
        lines = read_lines(workdir / METRICS_FILE) if workdir else []
    except DamagedLines as damage:
        _logger.info("note: %s; the report passes it over", damage)
        lines = damage.whole
    lines = lines[:: max(1, len(lines) // _POINTS)]
    names = sorted({name for line in lines for name in line if name.endswith("_loss")})[:_LOSSES]
    return {
        name: [(line["step"], *(line[name],) * 3) for line in lines if _is_loss(line.get(name))]
        for name in names
    }


def _is_loss(value: Any) -> bool:
    return value is not None and is_number_or_none(value)


def _mend_ledger(output: Path) -> None:
    if note := mend_ledger(output):
        _logger.info("note: %s", note)


def _facts(subject: Subject, measurement: Measurement) -> dict[str, Any]:
    place = subject.workdir or Path(subject.directory)
    key = measurement.key()
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return {
        **{name: value for name, value in key.items() if value is not None},
        "image_size": subject.image_size,
        "step": subject.step,
        "stages": describe_stages(subject),
        "checkpoint": subject.directory,
        "checkpoint_name": place.name,
        "checkpoint_meta_sha256": subject.meta_sha256,
        "checkpoint_sha256": subject.checkpoint_sha256,
        "hear_sha256": subject.hear_sha256,
        "identity_sha256": subject.identity_sha256,
        "judge": measurement.judge.path,
        "warnings": [*warnings_of(subject, measurement.judge), *measurement.warnings],
        "version": __version__,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}{processes}",
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": measurement.command,
    }


def _entry(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger's line: the record with the metrics apart, without what fills pages."""
    return {
        **{n: v for n, v in record.items() if n not in metrics and n not in _LONG},
        "metrics": {name: record[name] for name in metrics},
    }


def _write_scalars(output: Path, entry: Mapping[str, Any]) -> None:
    # TensorFlow, which writes them, announces its start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    writer = build_writer(output)
    scalars = {
        f"{entry['protocol']}/{name}": value
        for name, value in entry["metrics"].items()
        if value is not None
    }
    writer.write_scalars(entry["step"], scalars)
    writer.close()
