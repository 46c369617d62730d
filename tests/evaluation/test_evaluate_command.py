"""`faceshifter evaluate` from a checkpoint to its files."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_disks import small_disk
from tiny_checkpoints import save_aei, save_hear, save_identity

from faceshifter_jax import cli
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.data import prepare_embedded
from faceshifter_jax.evaluation.findings import read_values
from faceshifter_jax.evaluation.ledger import append_to_ledger, read_ledger

COUNTS = ("--pairs", "7", "--identities", "3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Workdirs of an AEI-Net, a HEAR-Net, their identity network and a judge."""
    top = tmp_path_factory.mktemp("trained")
    identity = save_identity(top / "identity", seed=5)
    save_identity(top / "judge", seed=6)
    save_aei(top / "aei", identity, step=20)
    save_hear(top / "hear", identity, read_weights(top / "aei"))
    return top


@pytest.fixture(scope="module")
def evaluated(trained):
    """The AEI-Net's, with all defaults."""
    words = ["--checkpoint", trained / "aei", "--judge", trained / "judge", *COUNTS]
    assert evaluate(*words) == 0
    return trained / "aei" / "evaluation" / "ground-truth"


def evaluate(*words):
    return cli.main(["evaluate", *map(str, words)])


def read_metrics(output):
    return json.loads((output / "metrics.json").read_text())


def test_metrics_say_what_was_measured_and_how(evaluated, trained):
    metrics = read_metrics(evaluated)
    assert (metrics["protocol"], metrics["protocol_version"]) == ("ground-truth", 6)
    assert (metrics["step"], metrics["pairs"], metrics["identities"]) == (20, 7, 3)
    aei, judge, identity = (read_weights(trained / n) for n in ("aei", "judge", "identity"))
    assert metrics["checkpoint_sha256"] == aei.sha256
    assert metrics["judge_sha256"] == judge.sha256
    assert metrics["identity_sha256"] == identity.sha256
    assert re.fullmatch("[0-9a-f]{64}", metrics["data_sha256"])
    assert metrics["warnings"] == []
    assert f"--checkpoint {trained / 'aei'} --judge {trained / 'judge'}" in metrics["command"]
    values = read_values(evaluated)
    for name, (low, high) in metrics["intervals"].items():
        assert low <= metrics[name] <= high, name
        if name in metrics["jackknife"]:
            continue
        assert np.nanmean(values[name]) == pytest.approx(metrics[name], nan_ok=True)
        assert len(values[name]) == 7
    for breakdown in metrics["breakdowns"]:
        for bins in breakdown["bins"].values():
            assert sum(found["pairs"] for found in bins) == 7


class Parts(HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.pictures, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href"):
                (self.pictures if value.startswith("data:image/jpeg") else self.links).append(value)


def test_report_is_one_file_that_needs_nothing_else(evaluated):
    text = (evaluated / "report.html").read_text()
    parts = Parts(text)
    assert parts.links == []
    assert "script" not in parts.tags
    assert not re.search(r"https?://|url\(|@import", text)
    assert parts.tags.count("svg") >= 8
    assert len(parts.pictures) > 50
    for url in parts.pictures[:5]:
        content = base64.b64decode(url.partition(",")[2], validate=True)
        assert Image.open(io.BytesIO(content)).size == (128, 128)
    for title in ("Swaps: the worst", "Masks and heuristic errors", "Where it fails"):
        assert title in text
    assert read_metrics(evaluated)["checkpoint_sha256"] in text
    with Image.open(evaluated / "report.png") as picture:
        assert picture.width > 4 * 128


def test_a_full_disk_is_one_line_and_what_is_there_is_whole(trained, tmp_path, capfd):
    words = ["--checkpoint", trained / "aei", "--judge", trained / "judge", *COUNTS]
    with small_disk(tmp_path, "100k") as disk:
        # It has room for the numbers, not for the pictures.
        assert evaluate(*words, "--output", disk / "out") == 2
        written = {path.name: path for path in disk.rglob("*") if path.is_file()}
        assert sorted(written) == ["metrics.json", "values.npz"]
        assert json.loads(written["metrics.json"].read_text())["pairs"] == 7
        values = read_values(written["values.npz"].parent)
        assert {len(of_pairs) for of_pairs in values.values()} == {7}
    *_, line = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "no space is left on the disk" in line


def test_scalars_are_written_for_tensorboard(evaluated):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(evaluated))
    events.Reload()
    tags = events.Tags()["tensors"]
    assert "ground-truth/psnr_swap" in tags
    (event,) = events.Tensors("ground-truth/psnr_swap")
    assert event.step == 20
    assert make_ndarray(event.tensor_proto) == pytest.approx(read_metrics(evaluated)["psnr_swap"])


def test_a_judge_that_is_the_trainings_own_is_pointed_out(trained, tmp_path, capfd):
    checkpoint = trained / "aei" / "checkpoints" / "20"
    assert evaluate("--checkpoint", checkpoint, "--output", tmp_path / "out", *COUNTS) == 0
    assert "warning: the judge is the identity network of the training" in capfd.readouterr().out
    metrics = read_metrics(tmp_path / "out")
    assert metrics["judge_sha256"] == metrics["identity_sha256"]
    assert metrics["checkpoint_name"] == "aei"
    assert metrics["warnings"][0] in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_second_stage_stands_beside_the_first(trained, tmp_path):
    words = ["--checkpoint", trained / "hear", "--judge", trained / "judge"]
    assert evaluate(*words, "--output", tmp_path / "out", *COUNTS) == 0
    metrics = read_metrics(tmp_path / "out")
    assert metrics["hear_sha256"] == read_weights(trained / "hear").sha256
    assert metrics["stages"] == "AEI-Net and HEAR-Net"
    assert metrics["occluder_error_hear"] != metrics["occluder_error_aei"]
    assert "<th>HEAR-Net</th>" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_four_devices_give_the_same(evaluated, trained, tmp_path):
    """Seven pairs among four devices: the last batch is padded."""
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(here.parents[1]),
    }
    command = [sys.executable, here / "run_evaluation.py", "evaluate", *COUNTS, "--checkpoint",
               trained / "aei", "--judge", trained / "judge", "--output", tmp_path]  # fmt: skip
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "devices 4 of them here 4" in done.stdout
    one, four = read_metrics(evaluated), read_metrics(tmp_path)
    assert one["data_sha256"] == four["data_sha256"]
    for name in one["intervals"]:
        assert four[name] == pytest.approx(one[name], rel=2e-3, abs=2e-3), name


def test_a_dataset_means_the_protocol_pairs(trained, tmp_path):
    prepare_embedded(
        tmp_path / "faces", num_identities=3, pictures_per_identity=2, size=32, num_workers=1
    )
    words = ["--checkpoint", trained / "aei", "--judge", trained / "judge"]
    assert evaluate(*words, "--data", tmp_path / "faces", "--output", tmp_path / "out") == 0
    metrics = read_metrics(tmp_path / "out")
    assert (metrics["protocol"], metrics["pairs"]) == ("pairs", 6)
    assert metrics["reconstruction_error"] > 1
    assert "Real and swapped pictures as sets" in (tmp_path / "out" / "report.html").read_text()


def test_ledger_survives_a_line_that_was_cut_off(tmp_path):
    append_to_ledger(tmp_path, {"step": 1, "protocol": "pairs"})
    with (tmp_path / "evaluations.jsonl").open("a") as file:
        file.write('{"step": 2, "proto')
    assert [entry["step"] for entry in read_ledger(tmp_path)] == [1]
    append_to_ledger(tmp_path, {"step": 3, "protocol": "pairs"})
    assert [entry["step"] for entry in read_ledger(tmp_path)] == [1, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluations.jsonl"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"--checkpoint": "missing"}, "no weights at missing"),
        ({"--checkpoint": "empty"}, "has saved a checkpoint"),
        ({"--checkpoint": "IDENTITY"}, "not an AEI-Net"),
        ({"--judge": "missing"}, "no weights at missing"),
        ({"--judge": "AEI"}, "not an identity network|identity"),
        ({"--pairs": "0"}, "at least 1"),
        ({"--identities": "1"}, "at least 2"),
        ({"--protocol": "pairs"}, "needs --data"),
        ({"--data": "missing"}, "no prepared dataset at missing"),
        ({"--split": "val"}, "--split has no effect on the protocol ground-truth"),
        ({"--poll-seconds": "1"}, "--poll-seconds has no effect without --watch"),
        ({"--output": "file"}, "file is a file"),
        ({"--output": "/proc/reports"}, "cannot write to /proc/reports"),
        ({"--output": "file/reports"}, "cannot write to file/reports"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    changes, reason, trained, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    places = {"IDENTITY": trained / "identity", "AEI": trained / "aei"}
    words = {"--checkpoint": "AEI", "--judge": "IDENTITY", "--output": "out"} | changes
    flat = [places.get(word, word) for pair in words.items() for word in pair]
    assert evaluate(*flat) == 2
    errors = capfd.readouterr().err
    assert re.search(reason, errors), errors
    assert errors.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
