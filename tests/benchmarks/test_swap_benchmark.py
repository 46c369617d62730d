"""The benchmark of the swap runs, small, and says what it should."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_small(record, *arguments, **environment):
    command = [sys.executable, "benchmarks/swap.py", "--small", "--rounds", "1", "--batches", "1"]
    done = subprocess.run(
        [*command, "--output", str(record), *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "s a picture" in done.stdout
    return done.stdout, json.loads(record.read_text())


def test_small_run_compares_and_records(tmp_path):
    printed, content = run_small(tmp_path / "results" / "swap.json")
    rows = {row["name"]: row for row in content["rows"]}
    assert {"ours", "ours, new source"} <= set(rows)
    for row in rows.values():
        assert 0 < row["fastest"] <= row["seconds_a_picture"]
    # Where torch is installed, both computed the same.
    port = rows.get("PyTorch eager")
    assert (port is not None) == (content["machine"]["torch"] is not None)
    assert port is None or port["grey_levels_from_ours"] <= 1
    assert content["matrix_gflop_per_second"] > 0
    # The same operations for both; those of a new source's embedding are more.
    counts = [rows[name]["gflop_a_picture"] for name in ("ours", "ours, new source")]
    assert 0 < counts[0] < counts[1]
    assert port is None or port["gflop_a_picture"] == counts[0]
    # The port has no second stage, and the row says so.
    both = rows["ours, two stages (no opponent)"]
    assert both["grey_levels_from_ours"] is None
    assert both["gflop_a_picture"] > counts[1]
    assert "two stages (no opponent)" in printed
    assert content["photo_seconds"] > 0


def test_what_cannot_run_is_reported_and_the_rest_is_kept(tmp_path):
    printed, content = run_small(tmp_path / "swap.json", "--compile", CXX="no-such-compiler")
    rows = {row["name"]: row for row in content["rows"]}
    assert rows["ours"]["seconds_a_picture"] > 0
    if content["machine"]["torch"] is not None:
        assert rows["PyTorch eager"]["seconds_a_picture"] > 0
        assert "no-such-compiler" in rows["torch.compile"]["failed"]
        assert rows["torch.compile"]["failed"] in printed
