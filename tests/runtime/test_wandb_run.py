"""`config.wandb`: a real run without network, read back from its file."""

import importlib.util
import json
import struct

import numpy as np
import pytest
from toy import FACTORIES, toy_config

from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.wandb_run import RUN_FILE, check_wandb
from faceshifter_jax.training.train import train


def records(content):
    """The records of a run's file: a head of 7 bytes, then LevelDB's format of logs."""
    place, parts = 7, []
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts.append(content[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts = []


def read_history(workdir):
    """Every run of a workdir: its identifier, and what it logged at a time, name -> value."""
    from wandb.proto.wandb_internal_pb2 import Record

    runs = []
    for path in sorted(workdir.glob("wandb/offline-run-*/*.wandb")):
        found = (Record.FromString(record) for record in records(path.read_bytes()))
        rows = [
            {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
            for record in found
            if record.WhichOneof("record_type") == "history"
        ]
        runs.append((path.stem.removeprefix("run-"), rows))
    return runs


def test_curves_and_pictures_arrive_and_a_continued_run_is_the_same(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for num_steps in (4, 6):
        config = toy_config(num_steps=num_steps, log_every_steps=2, sample_every_steps=4)
        with config.unlocked():
            config.wandb = "toys"
        train(config, tmp_path, **FACTORIES)
    (first, rows), (second, more) = read_history(tmp_path)
    assert first == second == (tmp_path / RUN_FILE).read_text().strip()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = {row["_step"]: row for row in rows + more if "loss" in row}
    assert [*logged] == [line["step"] for line in lines] == [2, 4, 6]
    for line in lines:
        np.testing.assert_allclose(logged[line["step"]]["loss"], line["loss"], rtol=1e-6)
    assert [row["_step"] for row in rows + more if row.get("samples.count") == 1] == [4, 6]
    assert len(list(tmp_path.glob("wandb/*/files/media/images/samples_4_*.png"))) == 1


def test_without_the_package_one_line_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    config = toy_config(num_steps=2)
    with config.unlocked():
        config.wandb = "toys"
    with pytest.raises(UserError, match=r"pip install 'faceshifter-jax\[wandb\]'"):
        train(config, tmp_path / "run", **FACTORIES)
    assert not (tmp_path / "run").exists()
    check_wandb("")
