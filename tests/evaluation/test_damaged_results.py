"""Evaluations that were damaged, or made by somebody else: one line, and nothing is lost."""

import json
import zipfile

import numpy as np
import pytest

from faceshifter_jax import cli
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.compare import find_result
from faceshifter_jax.evaluation.evaluate import made_directory, read_losses
from faceshifter_jax.evaluation.findings import hash_values, read_record, read_values
from faceshifter_jax.evaluation.ledger import append_to_ledger, mend_ledger, read_ledger
from faceshifter_jax.evaluation.report.image_grid import write_report
from faceshifter_jax.logs import shown_on_stderr
from faceshifter_jax.media.grid import write_grid

BROKEN = {
    "no JSON": b"{broken\n",
    "no text": b"\xff\xfe\n",
    "a list": b"[1]\n",
    "no step": b"{}\n",
    "a step as text": b'{"step": "2"}\n',
    "metrics as a list": b'{"step": 2, "metrics": [1]}\n',
    "a metric as text": b'{"step": 2, "metrics": {"psnr": "high"}}\n',
    "an interval of one": b'{"step": 2, "intervals": {"psnr": [1]}}\n',
    "deep": b'{"step": ' + b"[" * 100_000 + b"\n",
    "zeros": bytes(100) + b"\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_history_is_set_aside_before_the_work(name, tmp_path, capsys):
    append_to_ledger(tmp_path, {"step": 1, "protocol": "pairs"})
    path = tmp_path / "evaluations.jsonl"
    damaged = path.read_bytes() + BROKEN[name] + b'{"step": 3}\n'
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="line 2 of"):
        read_ledger(tmp_path)
    with shown_on_stderr(), made_directory(tmp_path):
        assert [entry["step"] for entry in read_ledger(tmp_path)] == [1, 3]
    (line,) = capsys.readouterr().err.splitlines()
    assert "damaged in line 2" in line
    assert "evaluations.damaged_1.jsonl" in line
    assert (tmp_path / "evaluations.damaged_1.jsonl").read_bytes() == damaged
    assert mend_ledger(tmp_path) is None


def test_a_second_damaged_history_does_not_replace_the_first(tmp_path):
    for number in (1, 2):
        (tmp_path / "evaluations.jsonl").write_bytes(b"{broken\n" * number)
        assert "damaged" in mend_ledger(tmp_path)
    assert (tmp_path / "evaluations.damaged_1.jsonl").read_bytes() == b"{broken\n"
    assert (tmp_path / "evaluations.damaged_2.jsonl").read_bytes() == b"{broken\n" * 2


@pytest.mark.parametrize("name", ["report.html", "report.png", "metrics.json", "values.npz"])
def test_what_cannot_be_replaced_is_found_before_the_work(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{name} is a folder"), made_directory(tmp_path):
        pytest.fail("the work would begin")


def test_a_history_behind_a_link_is_not_written_to(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("")
    output = tmp_path / "output"
    output.mkdir()
    (output / "evaluations.jsonl").symlink_to(victim)
    with pytest.raises(UserError, match="is a link"), made_directory(output):
        pytest.fail("the work would begin")
    assert victim.read_text() == ""


def test_pictures_of_reports_are_not_written_through_links(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    pictures = np.zeros((2, 16, 16, 3), np.uint8)
    for name in (".report.png", ".grid.png"):
        (tmp_path / name).symlink_to(victim)
    write_report([{"swap": pictures}], tmp_path / "report.png")
    write_grid({"swap": pictures}, tmp_path / "grid.png")
    assert victim.read_text() == "mine"
    assert (tmp_path / "report.png").stat().st_size > 100


def test_broken_lines_of_the_losses_are_passed_over(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_bytes(
        b'{"step": 1, "id_loss": 2.0}\n{broken\n{"step": 3, "id_loss": 1.0, "att_loss": "low"}\n'
    )
    with shown_on_stderr():
        losses = read_losses(tmp_path)
    assert losses["id_loss"] == [(1, 2.0, 2.0, 2.0), (3, 1.0, 1.0, 1.0)]
    assert losses["att_loss"] == []
    assert "line 2 of" in capsys.readouterr().err


RECORD = {
    **{"protocol": "pairs", "protocol_version": 1, "data_sha256": "d", "values_sha256": "v"},
    **{"checkpoint": "run/checkpoints/1", "checkpoint_name": "run", "step": 1, "psnr": 2.0},
    **{"intervals": {"psnr": [1.0, 3.0]}, "jackknife": {}},
}


def write_evaluation(folder, **changes):
    folder.mkdir()
    values = changes.pop("values", {"psnr": np.array([1.0, 3.0])})
    np.savez_compressed(folder / "values.npz", **values)
    record = RECORD | {"values_sha256": hash_values(values)} | changes
    (folder / "metrics.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "[" * 100_000,
        json.dumps(RECORD | {"intervals": {"psnr": [1]}}),
        json.dumps(RECORD | {"intervals": {"psnr": ["a", "b"]}}),
        json.dumps(RECORD | {"psnr": "high"}),
        json.dumps(RECORD | {"psnr": 10**400}),
        json.dumps(RECORD | {"jackknife": {"psnr": "none"}}),
    ],
)
def test_damaged_metrics_are_one_line(text, tmp_path):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(UserError, match="does not hold metrics of an evaluation"):
        read_record(tmp_path / "metrics.json")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    bomb = tmp_path / "values.npz"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("psnr.npy", "w", force_zip64=True) as file,
    ):
        header = {"descr": "<f8", "fortran_order": False, "shape": (33 * 2**21,)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(33):
            file.write(bytes(2**24))
    assert bomb.stat().st_size < 2**23
    with pytest.raises(UserError, match="cannot be read"):
        read_values(tmp_path)


def write_huge_header(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("psnr.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (2**60,)}
        )


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"PK\3\4 cut off"),
        lambda path: np.savez(path, psnr=np.array([{}], object)),
        lambda path: np.savez(path, psnr=np.zeros((2, 2))),
        lambda path: np.savez(path, psnr=np.zeros(2), ssim=np.zeros(3)),
        write_huge_header,
    ],
)
def test_damaged_values_are_one_line(write, tmp_path):
    write(tmp_path / "values.npz")
    with pytest.raises(UserError, match="cannot be read"):
        read_values(tmp_path)


def test_values_of_other_counts_are_compared_without_pairs(tmp_path):
    one = write_evaluation(tmp_path / "one")
    two = write_evaluation(tmp_path / "two", values={"psnr": np.zeros(3)}, checkpoint_name="other")
    three = write_evaluation(tmp_path / "three", jackknife={"psnr": [1.0, 2.0]}, values={})
    assert cli.main(["compare", str(one), str(two)]) == 0
    assert cli.main(["compare", str(one), str(tmp_path / "one")]) == 0
    with pytest.raises(UserError):
        find_result(three, None)


def test_foreign_names_forge_no_lines(tmp_path, capsys):
    one = write_evaluation(tmp_path / "one")
    name = "run\n* psnr 99\x1b[2J\u202e"
    two = write_evaluation(tmp_path / "two", checkpoint_name=name)
    assert cli.main(["compare", str(one), str(two), "--output", str(tmp_path / "table.csv")]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "run\\n* psnr 99\\x1b[2J\\u202e@1" in printed
    assert not any(line.startswith("* psnr") for line in printed.splitlines())
