"""benchmarks/tpu.py as users run it, on parts that are small enough to compile in seconds."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--config=configs/aei.py:demo", "--config.image_size=32", "--batch=1")
NARROW = (
    "--config.model.generator_channels=(8, 8, 8, 8, 8, 8)",
    "--config.model.encoder_channels=(8, 8, 8, 8, 8)",
    "--config.discriminator.width=8",
)

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed: pip install -e '.[tpu-check]'",
)


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "benchmarks/tpu.py", *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--topology=v99:2x2"], "unknown TPU 'v99'"),
        (["--variants=none"], "no variant 'none': there are ours, "),
        (["--batch=0"], "--batch takes numbers of pictures, not '0'"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_compiled(arguments, says, tmp_path):
    result = run(f"--output={tmp_path / 'tpu.json'}", *arguments)
    assert result.returncode != 0
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


@needs_libtpu
@pytest.mark.slow
def test_all_parts_compile(tmp_path):
    file = tmp_path / "tpu.json"
    parts = ["aad_5", "discriminator_1", "upsample", "attribute_loss", "optimizer"]
    result = run(*NARROW, f"--output={file}", "--quick", "--bytes-by=1", "--parts", *parts)
    assert result.returncode == 0, result.stderr
    runs = json.loads(file.read_text())["runs"]
    assert [found["part"] for found in runs] == parts
    for found in runs:
        assert found["memory_traffic"] == sum(group["memory_bytes"] for group in found["bytes_by"])
        assert found["memory_traffic"] > 0
    assert result.stdout.count("where the memory traffic goes") == len(runs)


@needs_libtpu
@pytest.mark.slow
def test_variants_are_compared_side_by_side(tmp_path):
    """An Adam whose beta1 is 0 does not read the moment that it forgets."""
    file = tmp_path / "tpu.json"
    flag = "--config.optimizer.generator.b1=0.0"
    result = run(f"--output={file}", flag, "--parts=optimizer", "--variants", "ours", "momentum")
    assert result.returncode == 0, result.stderr
    ours, momentum = json.loads(file.read_text())["runs"]
    assert (ours["variant"], momentum["variant"]) == ("ours", "momentum")
    assert ours["memory_traffic"] < momentum["memory_traffic"]
