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
    assert len(row["first_step_seconds"]) == 1
    assert row["failed"] == []
    assert batch["gflop"] > 0
    assert batch["bfloat16_matrix_gflop_per_second"] > 0
    assert len(result["machine"]["load_average"]) == 3
    assert row["memory_gib"] > 0


def test_processes_that_fail_are_told_and_the_steps_of_others_kept(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import step

    def ends(*results):
        turns = iter(results)

        def process(options, name, batch):
            if name == "count":
                return {"operations": 4e9}
            result = next(turns) if name == "ours-float32" else RuntimeError("no compiler")
            if isinstance(result, RuntimeError):
                raise result
            return {"seconds": result, "first_seconds": 9, "memory_gib": 1}

        return process

    crash = RuntimeError("killed by SIGSEGV")
    monkeypatch.setattr(step, "_process", ends([1.0, 3.0], crash, [2.0]))
    monkeypatch.setattr(step, "matrix_rate", lambda: 8.0)
    monkeypatch.setattr(step, "bfloat16_rate", lambda: (16.0, "jax"))
    options = step.parse(["--opponents", "ours-float32", "torch-compile-bfloat16"])
    result = step.measure(options, 2)
    ours, theirs = result["opponents"]
    assert (ours["steps"], ours["failed"]) == ([1.0, 3.0, 2.0], ["killed by SIGSEGV"])
    assert (theirs["steps"], theirs["failed"]) == ([], ["no compiler"])
    step.report(result)
    printed = capsys.readouterr().out
    assert "1 of 3" in printed
    assert "1 of 1" in printed
    assert "ours-float32 failed: killed by SIGSEGV" in printed


def test_a_signal_has_a_name(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import step

    script = "import os; os.kill(os.getpid(), 11)"
    options = step.parse([])
    run = subprocess.run
    monkeypatch.setattr(
        step.subprocess, "run", lambda _, **rest: run([sys.executable, "-c", script], **rest)
    )
    with pytest.raises(RuntimeError, match="killed by SIGSEGV"):
        step._process(options, "ours-float32", 1)


def test_upsampling_is_counted_as_sums(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import jax
    import numpy as np
    from operations import plain_operations

    from faceshifter_jax.models.layers import Conv, upsample

    small = plain_operations(upsample, np.zeros((1, 8, 8, 4), np.float32))
    # Operations a pixel do not grow with the map.
    large = plain_operations(upsample, np.zeros((1, 32, 32, 4), np.float32))
    assert large == pytest.approx(16 * small, rel=0.2)
    conv, x = Conv(8, 3, use_bias=False), np.zeros((1, 16, 16, 4), np.float32)
    variables = jax.eval_shape(conv.init, jax.random.key(0), x)
    assert plain_operations(conv.apply, variables, x) == 2 * 9 * 14 * 14 * 4 * 8


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
