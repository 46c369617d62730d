"""`faceshifter compare` on evaluations whose values are made up."""

import csv
import json

import numpy as np
import pytest

from faceshifter_jax import cli
from faceshifter_jax.evaluation.comparing import find_difference, find_result
from faceshifter_jax.evaluation.results import Findings, build_record, write_record

PAIRS = 80


def write(directory, shift=0.0, *, noise=0, with_values=True, **facts):
    """An evaluation with a metric that varies much from pair to pair, and `shift` between them."""
    directory.mkdir(parents=True)
    random = np.random.default_rng(0)
    hard = random.normal(20, 5, PAIRS)
    small = np.random.default_rng(noise).normal(0, 0.2, PAIRS)
    values = {"psnr_swap": hard + small + shift, "id_retrieval_top1": (hard > 18).astype(float)}
    findings = Findings(values, [], [], {"data_sha256": "d"}, missing=["pose_error"])
    record = build_record(
        findings,
        {
            "protocol": "pairs", "protocol_version": 1, "judge_sha256": "j", "step": 5,
            "checkpoint_name": directory.parts[-1],
        } | facts,
    )  # fmt: skip
    write_record(directory, findings, record)
    if not with_values:
        (directory / "values.npz").unlink()
    return directory


def test_small_differences_show_over_the_same_pairs_alone(tmp_path):
    first = find_result(write(tmp_path / "a"), None)
    other = find_result(write(tmp_path / "b", 0.3, noise=1), None)
    paired = find_difference("psnr_swap", first, other)
    assert paired.paired
    assert paired.value == pytest.approx(0.3, abs=0.1)
    assert paired.beyond_chance
    assert paired.interval[1] - paired.interval[0] < 0.2
    alone = find_result(write(tmp_path / "c", 0.3, noise=1, with_values=False), None)
    apart = find_difference("psnr_swap", first, alone)
    assert not apart.paired
    assert apart.value == pytest.approx(paired.value)
    assert not apart.beyond_chance
    assert apart.interval[1] - apart.interval[0] > 2
    assert not find_difference("id_retrieval_top1", first, other).beyond_chance
    assert find_difference("pose_error", first, other) is None


def test_the_command_prints_and_writes_a_table(tmp_path, capfd):
    write(tmp_path / "a")
    write(tmp_path / "aei" / "evaluation" / "pairs", 2, checkpoint_name="aei")
    words = ["compare", tmp_path / "a" / "metrics.json", tmp_path / "aei"]
    assert cli.main([*map(str, words), "--output", str(tmp_path / "table.csv")]) == 0
    printed = capfd.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("psnr_swap")]
    assert "+2.00 dB (2.00 dB to 2.00 dB) *" in line
    assert "a@5" in printed
    assert "aei@5" in printed
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["metric"] == "psnr_swap"
    assert float(rows[0]["difference"]) == pytest.approx(2)
    assert rows[0]["beyond_interval"] == "True"


def test_other_data_are_pointed_out(tmp_path, capfd):
    write(tmp_path / "a")
    write(tmp_path / "b", judge_sha256="other")
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capfd.readouterr().out.startswith("note: these have different judges")


def test_a_checkpoint_means_the_evaluation_of_its_step(tmp_path):
    top = tmp_path / "aei" / "evaluation" / "pairs"
    write(top, 9, step=7)
    write(top / "steps" / "5", 1, step=5)
    for step in ("5", "7"):
        (tmp_path / "aei" / "checkpoints" / step).mkdir(parents=True)
        found = find_result(tmp_path / "aei" / "checkpoints" / step, None)
        assert found.record["step"] == int(step)
        assert len(found.values["psnr_swap"]) == PAIRS


def test_bad_input_is_one_line(tmp_path, capfd):
    write(tmp_path / "a")
    write(tmp_path / "b", protocol_version=2)
    two = tmp_path / "two"
    for name in ("pairs", "ground-truth"):
        write(two / "evaluation" / name, protocol=name)
    (tmp_path / "none" / "checkpoints").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "other.json").write_text(json.dumps({"step": 1}))
    cases = {
        ("a",): "one evaluation alone",
        ("a", "b"): "measured in different ways",
        ("a", "none"): "none has no metrics: make them with `faceshifter evaluate",
        ("a", "two"): "choose one with --protocol",
        ("a", "missing.json"): "there is no file",
        ("a", "other.json"): "holds no metrics of an evaluation",
        ("a", "photos"): "cannot be compared with each other",
        ("photos",): "name one with --identity",
    }
    for names, reason in cases.items():
        assert cli.main(["compare", *(str(tmp_path / name) for name in names)]) == 2
        errors = capfd.readouterr().err
        assert reason in errors, errors
        assert errors.count("\n") == 1
    words = ["compare", str(two), str(two), "--protocol", "pairs"]
    assert cli.main(words) == 0
