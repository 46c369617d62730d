"""`benchmarks/step.py` at its smallest, and that the opponent makes the same step."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "step.py"), "--scale", "tiny", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_our_step_alone(tmp_path):
    output = tmp_path / "new" / "step.json"
    done = run("--opponents", "ours-float32", "--rounds", "1", "--steps", "2",
               "--output", str(output))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| ours-float32 |" in done.stdout
    result = json.loads(output.read_text())
    (batch,) = result["batches"]
    (row,) = batch["opponents"]
    assert len(row["steps"]) == 2
    assert batch["gflop"] > 0
    assert row["memory_gib"] > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it apart")
def test_the_peak_memory_is_not_that_of_the_parent():
    # Written to, so that it counts.
    held = b"x" * 2**29
    code = "import step; print(step._peak_memory())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    assert 2**20 < int(done.stdout) < len(held)


def test_both_make_the_same_step(monkeypatch):
    pytest.importorskip("torch", reason="the opponent: pip install -e '.[benchmark]'")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from step_ours import OurStep
    from step_scale import SCALES
    from step_torch import TorchStep

    ours, opponent = OurStep(SCALES["tiny"], 5), TorchStep(SCALES["tiny"], 5)
    ours.start()
    opponent.start()
    state = ours.state
    players = {
        name: {"params": state.params[name], "batch_stats": state.batch_stats.get(name, {})}
        for name in state.params
    }
    opponent.load(**players, identity=ours.frozen["identity"].variables)
    first = (ours.run(), opponent.run())
    assert set(first[1]) <= set(first[0])
    for name, value in first[1].items():
        assert first[0][name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    # How the losses change follows from the first step's gradients and updates: by nothing without.
    second = (ours.run(), opponent.run())
    for name in ("generator_loss", "discriminator_loss", "attribute_loss"):
        mine, theirs = (b[name] - a[name] for a, b in zip(first, second, strict=True))
        assert abs(theirs) > 1e-3, name
        assert mine == pytest.approx(theirs, rel=0.05), name
