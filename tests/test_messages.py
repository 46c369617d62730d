"""Foreign text on a terminal: nothing in it moves what is around it."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax.evaluation.compare_faces import describe, sort_pairs, write_table
from faceshifter_jax.media.provenance.statement import Provenance
from faceshifter_jax.messages import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Jürgen 東京\u3000x", "Jürgen 東京\u3000x"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x07\x00\x7f\x9b", "\\x1b[2J\\x07\\x00\\x7f\\x9b"),
        ("\u202egnp.exe\u2066\u200b\u2028", "\\u202egnp.exe\\u2066\\u200b\\u2028"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown
    shown.encode()


def test_inspect_prints_no_line_that_a_file_forges(tmp_path):
    forged = "x\nb.png: partly made\u202e"
    packet = Provenance(software=forged).to_xmp()
    path = tmp_path / "a\n.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "b.jpg", xmp=packet)
    (tmp_path / "b.jpg").rename(path)
    done = run_inspect(path)
    assert done.returncode == 0
    assert "\u202e".encode() not in done.stdout
    assert b"x\\nb.png: partly made\\u202e" in done.stdout
    assert not any(line.startswith(b"b.png") for line in done.stdout.splitlines())
    assert b"a\\n.png: " in done.stdout


def run_inspect(path):
    """With a terminal that refuses what is no UTF-8, as in the locale en_US.UTF-8."""
    return subprocess.run(
        [sys.executable, "-m", "faceshifter_jax.cli", "inspect", path],
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
    )


def test_inspect_of_a_name_that_is_no_utf8(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(os.fsdecode(path))
    done = run_inspect(path)
    assert done.returncode == 0, done.stderr
    assert b"caf\\xe9.png: no statement" in done.stdout
    done = run_inspect(path + b"\xff.gif")
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1


def test_tables_of_faces_hold_the_bytes_of_names(tmp_path):
    names = [os.fsdecode(b"caf\xe9.png"), 'a,"b\n.png', "c.png"]
    cosines = np.array([[1, 0.5, 0.2], [0.5, 1, 0.1], [0.2, 0.1, 1]])
    pairs = sort_pairs(cosines)
    write_table(tmp_path / "table.csv", names, cosines, pairs)
    assert b"caf\xe9.png" in (tmp_path / "table.csv").read_bytes()
    with (tmp_path / "table.csv").open(newline="", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert rows[1] == [names[0], names[1], "0.5000"]
    "\n".join(describe([printable(name) for name in names], cosines, pairs)).encode()
