"""One evaluation of one checkpoint, from its networks to its files."""

import datetime
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from faceshifter_jax import __version__
from faceshifter_jax.evaluation.charts import Point
from faceshifter_jax.evaluation.html_report import write_html
from faceshifter_jax.evaluation.ledger import append_to_ledger, read_ledger, read_lines
from faceshifter_jax.evaluation.presentation import format_value
from faceshifter_jax.evaluation.report import write_report
from faceshifter_jax.evaluation.results import build_record, write_record
from faceshifter_jax.evaluation.subject import Judge, Subject
from faceshifter_jax.training.monitor import METRICS_FILE, build_writer

STEPS_DIRECTORY = "steps"
_POINTS, _LOSSES = 200, 6


@dataclass(frozen=True)
class Measurement:
    """How checkpoints are measured: the same for all of a training.

    Attributes:
      protocol: one of `PROTOCOLS`.
      data: what its `prepare` gave.
      judge: the identity network that judges.
      command: what was typed.
    """

    protocol: ModuleType
    data: Any
    judge: Judge
    command: str

    def key(self) -> dict[str, Any]:
        """What two evaluations have in common that can be compared; see `ledger.comparable`."""
        return {
            "protocol": self.protocol.NAME,
            "protocol_version": self.protocol.VERSION,
            "judge_sha256": self.judge.sha256,
            "data_sha256": self.data.facts["data_sha256"],
            "features": self.data.facts.get("features"),
        }


def evaluate_into(
    output: Path, subject: Subject, measurement: Measurement, *, keep_step: bool = False
) -> dict[str, Any]:
    """Evaluates a checkpoint and writes all files of it; the ledger's line comes last.

    Args:
      output: an existing directory.
      subject: the checkpoint.
      measurement: how.
      keep_step: also write metrics.json and values.npz to `output`/steps/STEP, where the next
        checkpoint's do not replace them.

    Returns:
      what metrics.json holds.
    """
    protocol = measurement.protocol
    findings = protocol.evaluate(measurement.data, subject, measurement.judge)
    record = build_record(findings, _facts(subject, measurement))
    entry = _entry(record, findings.metrics())
    if keep_step:
        directory = output / STEPS_DIRECTORY / str(subject.step)
        directory.mkdir(parents=True, exist_ok=True)
        write_record(directory, findings, record)
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
    _write_scalars(output, entry)
    write_record(output, findings, record)
    append_to_ledger(output, entry)
    return record


def describe(record: Mapping[str, Any]) -> list[str]:
    """Returns a line for each metric: its value and its interval."""
    lines = []
    for name, ends in record["intervals"].items():
        value = format_value(name, record[name])
        interval = "" if None in ends else f"  {format_value(name, ends[0])} to "
        lines.append(f"{name:32s} {value:>12s}{interval}{interval and format_value(name, ends[1])}")
    return lines


def warnings_of(subject: Subject, judge: Judge) -> list[str]:
    """Returns what a reader of the metrics must know."""
    if judge.sha256 != subject.identity_sha256:
        return []
    return [
        "the judge is the identity network of the training, which learned to please it: use "
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
    """Reads the losses of a training over its steps, thinned out; empty where there are none."""
    lines = read_lines(workdir / METRICS_FILE) if workdir else []
    lines = lines[:: max(1, len(lines) // _POINTS)]
    names = sorted({name for line in lines for name in line if name.endswith("_loss")})[:_LOSSES]
    return {
        name: [(line["step"], *(line[name],) * 3) for line in lines if name in line]
        for name in names
    }


def _facts(subject: Subject, measurement: Measurement) -> dict[str, Any]:
    place = subject.workdir or Path(subject.directory)
    return {
        **measurement.key(),
        "image_size": subject.image_size,
        "step": subject.step,
        "stages": "AEI-Net and HEAR-Net" if subject.has_second_stage else "AEI-Net",
        "checkpoint": subject.directory,
        "checkpoint_name": place.name,
        "checkpoint_sha256": subject.checkpoint_sha256,
        "hear_sha256": subject.hear_sha256,
        "identity_sha256": subject.identity_sha256,
        "judge": measurement.judge.path,
        "warnings": warnings_of(subject, measurement.judge),
        "version": __version__,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": measurement.command,
    }


def _entry(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger's line: the record with the metrics apart, without the breakdowns."""
    return {
        **{n: v for n, v in record.items() if n not in metrics and n != "breakdowns"},
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
