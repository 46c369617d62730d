"""`scripts/gpu_session.py` on what is here, a CPU, at its smallest."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "gpu_session.py"


@pytest.fixture
def session():
    spec = importlib.util.spec_from_file_location("gpu_session", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100-SXM4-40GB", ""),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", ""),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 3060", "rtx3060"),
        ("NVIDIA GeForce RTX 3060 Ti", ""),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", ""),
        ("cpu", ""),
        ("", ""),
    ],
)
def test_cards_are_known_by_the_names_that_the_driver_gives(session, kind, name):
    assert session.card_name(kind) == name


def test_gradients_are_compared_player_by_player(session, tmp_path):
    one = {"generator['a']": np.full(3, 2.0), "generator['b']": np.zeros(1), "judge['a']": [4.0]}
    other = one | {"generator['b']": np.full(1, 1.0), "judge['a']": [3.0]}
    np.savez(tmp_path / "one.npz", **one)
    np.savez(tmp_path / "other.npz", **other)
    differences = session._compare(tmp_path / "one.npz", tmp_path / "other.npz")
    assert differences == pytest.approx({"generator": 1 / 12**0.5, "judge": 0.25})


def test_a_part_is_written_at_once_and_not_made_again_but_for_those_that_failed(
    session, tmp_path, monkeypatch
):
    calls = []

    def part(_):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")
        return {"passed": True}

    monkeypatch.setitem(session.PARTS, "parity", part)
    run = session.Session(session.parse(["--output", str(tmp_path), "--tiny"]))
    assert session.run_part(run, "parity")["failed"] == "CUDA_ERROR_OUT_OF_MEMORY"
    assert "CUDA_ERROR" in (tmp_path / "parity.json").read_text()
    assert session.run_part(run, "parity")["passed"]
    assert session.run_part(run, "parity")["passed"]
    assert len(calls) == 2
    assert json.loads((tmp_path / "parity.json").read_text())["part_seconds"] >= 0


def test_a_command_that_takes_too_long_or_fails_is_told(session, tmp_path):
    options = session.parse(["--output", str(tmp_path), "--minutes", "0.03"])
    run = session.Session(options)
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="the time was over"):
        run.run([sys.executable, "-c", "import time; time.sleep(60)"])
    assert time.monotonic() - begin < 30
    run = session.Session(session.parse(["--output", str(tmp_path)]))
    with pytest.raises(RuntimeError, match="ValueError: no kernel"):
        run.run([sys.executable, "-c", "raise ValueError('no kernel')"])


@pytest.mark.slow
def test_the_whole_session_is_green_on_a_cpu(tmp_path):
    command = [sys.executable, SCRIPT, "--tiny", "--minutes", "60", "--train-minutes", "2"]
    done = subprocess.run(
        [*command, "--output", tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    results = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert results["parity"]["passed"]
    assert results["resume"]["passed"]
    assert results["resume"]["arrays"] > 50
    assert results["ours-bfloat16"]["pictures_per_second"] > 0
    assert "skipped" in results["memory"]
    assert results["train"]["step"] == 4
