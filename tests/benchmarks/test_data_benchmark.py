"""The benchmark of the data pipeline runs and says what it measured."""

import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_loader_is_at_rest_after_its_turn(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import data

    made_ahead = queue.Queue(data._AHEAD)

    def work():
        while True:
            time.sleep(0.02)
            made_ahead.put(0)

    threading.Thread(target=work, daemon=True).start()
    rate, _ = data._take_turn(iter(made_ahead.get, None), workers=1, seconds=0.1)
    assert rate == pytest.approx(2 * data._BATCH_SIZE / 0.02, rel=0.5)
    assert made_ahead.full()


def test_a_small_run_measures_all_stages_and_both_loaders(tmp_path):
    command = [sys.executable, "benchmarks/data.py", "--output", tmp_path / "data.json"]
    small = "--pictures=8 --sizes=32 --workers=1 --seconds=0.02 --rounds=1"
    result = subprocess.run(
        [*command, *small.split(" ")], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "data.json").read_text())
    assert {row["size"] for row in record["stages"]} == {32}
    assert all(row["microseconds"] > 0 for row in record["stages"])
    assert [row["variant"] for row in record["whole"]][:2] == ["plain", "mirrored, colours"]
    for row in record["whole"]:
        assert row["pictures_per_second"] > 0
        assert row["variant"] in result.stdout
    assert all(row["opponent_pictures_per_second"] > 0 for row in record["whole"][:2])
