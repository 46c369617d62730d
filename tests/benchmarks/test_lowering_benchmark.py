"""The benchmark of lowerings runs and says what it measured."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_small_run_times_every_lowering(tmp_path):
    command = [sys.executable, "benchmarks/lowering.py", "--scale", "tiny", "--rounds", "1"]
    result = subprocess.run(
        [*command, "--output", tmp_path / "lowering.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "lowering.json").read_text())
    one, two = record["layers"]
    names = ("plain_conv", "conv_by_product", "conv_over_map", "conv_over_picture", "conv_to_few")
    assert all(one[name] > 0 for name in names)
    # Those for stride 1 do not exist for stride 2.
    assert [two[name] is None for name in names] == [False, False, True, True, True]
    assert one["of the fastest"] >= 1
    assert two["taken"] > 0
    for kind, names in {
        "up_convolutions": ("conv_transpose", "up_conv_by_products", "up_conv_by_phases"),
        "upsampling": ("einsum", "upsample_by_sums"),
    }.items():
        (row,) = record[kind]
        assert all(row[name] > 0 for name in names)
        assert row["of the fastest"] >= 1
