"""The benchmark of growth: its charts, and that a small run writes what it says."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chart(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import log_chart

    return log_chart


def circles(svg):
    return [
        (float(circle.get("cx")), float(circle.get("cy")))
        for circle in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}circle")
    ]


def test_what_doubles_is_a_straight_line(chart):
    line = [(64.0, 0.3), (128.0, 1.2), (256.0, 4.8), (512.0, 19.2)]
    places = circles(chart.draw_panels([("a < b", "pixels", "s", {"": line})], columns=1))
    steps = np.diff(places, axis=0)
    # Places are written to a tenth.
    assert np.ptp(steps, axis=0).max() < 0.3
    assert steps[0, 0] > 0 > steps[0, 1]


def test_one_point_and_very_different_ones_can_be_drawn(chart):
    one = ("one", "x", "y", {"": [(3.0, 1.0)]})
    far = ("far", "x", "y", {"a": [(1.0, 1e-3), (2.0, 1e4)], "b": [(1.0, 5.0)]})
    assert len(circles(chart.draw_panels([one, far], columns=3))) == 4


@pytest.mark.slow
def test_a_small_run_writes_figures_and_a_chart(tmp_path):
    command = [sys.executable, "benchmarks/growth.py"]
    small = "--axes=size --sizes=16 --width=0.01 --batch=1 --steps=1"
    files = ["--output", tmp_path / "growth.json", "--plot", tmp_path / "growth.svg"]
    result = subprocess.run(
        [*command, *small.split(" "), *files], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert result.returncode == 0, result.stderr
    (row,) = json.loads((tmp_path / "growth.json").read_text())["steps"]
    assert (row["size"], row["batch"], row["width"]) == (16, 1, 0.01)
    assert row["levels"] == 3
    for figure in ("seconds", "arguments_gib", "temporaries_gib_none", "temporaries_gib_aad"):
        assert row[figure] > 0
    # Time, and memory with and without rematerialisation.
    assert len(circles((tmp_path / "growth.svg").read_text())) == 3
