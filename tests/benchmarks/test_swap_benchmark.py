"""The benchmark of the swap runs, small, and says what it should."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_small_run_compares_and_records(tmp_path):
    record = tmp_path / "results" / "swap.json"
    command = [sys.executable, "benchmarks/swap.py", "--small", "--rounds", "1", "--batches", "1"]
    done = subprocess.run(
        [*command, "--output", str(record)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "s a picture" in done.stdout
    content = json.loads(record.read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert {"ours", "ours, new source"} <= set(rows)
    for row in rows.values():
        assert 0 < row["fastest"] <= row["seconds_a_picture"]
    # Where torch is installed, both computed the same.
    port = rows.get("PyTorch eager")
    assert (port is not None) == (content["machine"]["torch"] is not None)
    assert port is None or port["grey_levels_from_ours"] <= 1
    assert content["matrix_gflop_per_second"] > 0
    assert content["photo_seconds"] > 0
