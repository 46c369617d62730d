"""What goes wrong in a run of weeks: processes killed, files damaged, a full disk."""

import errno
import shutil
import subprocess
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import small_disks
from checkpoint_arrays import read_state
from killing import train_through_kills
from toy import FACTORIES, start_toy, start_two, toy_config

from faceshifter_jax.checkpoints import reading
from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.errors import UserError
from faceshifter_jax.training.train import train


def assert_equal_bits(first, second):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


@pytest.mark.parametrize("num_kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_training_that_is_killed_ends_as_one_that_never_was(num_kills, tmp_path):
    settings = {
        "num_steps": 40 * num_kills + 20,
        "save_every_steps": 1,
        "log_every_steps": 1,
        "sample_every_steps": 0,
        "model.width": 1000,
    }
    killed = tmp_path / "killed"
    train_through_kills(lambda: start_toy(killed, **settings), killed, num_kills)
    train(toy_config(**settings | {"save_every_steps": 0}), tmp_path / "whole", **FACTORIES)
    assert_equal_bits(read_state(killed), read_state(tmp_path / "whole"))
    left = sorted(path.name for path in (killed / "checkpoints").iterdir())
    assert left == sorted(map(str, (settings["num_steps"] - 1, settings["num_steps"])))
    assert not (killed / "damaged_checkpoints").exists()


def truncate(directory):
    for path in directory.rglob("d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_a_file(directory):
    next(directory.rglob("manifest.ocdbt")).unlink()


def flip_bits(directory):
    """In the bytes of every large array, which may lie in one file or in several."""
    for path in directory.rglob("d/*"):
        content = bytearray(path.read_bytes())
        for place in range(1000, len(content), 2000):
            content[place] ^= 4
        path.write_bytes(content)


def change_the_meta(directory):
    path = directory / "meta" / "metadata"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))


def cut_the_meta(directory):
    path = directory / "meta" / "metadata"
    path.write_text(path.read_text()[:50])


def save_as_older_versions_did(directory):
    """As arrays of a device, which carry their own metadata."""
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(directory / "state")
        shutil.rmtree(directory / "state")
        checkpointer.save(directory / "state", jax.tree.map(jnp.asarray, state))


def empty_the_array_metadata(directory):
    save_as_older_versions_did(directory)
    (directory / "state" / "array_metadatas" / "process_0").write_text("")


def put_a_directory_for_the_array_metadata(directory):
    save_as_older_versions_did(directory)
    path = directory / "state" / "array_metadatas" / "process_0"
    path.unlink()
    path.mkdir()


DAMAGES = [
    truncate,
    remove_a_file,
    flip_bits,
    change_the_meta,
    cut_the_meta,
    empty_the_array_metadata,
    put_a_directory_for_the_array_metadata,
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    train(toy_config(num_steps=6, **{"model.width": 500}), workdir, **FACTORIES)
    return read_state(workdir)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_checkpoint_is_reported_and_the_one_before_it_used(
    damage, whole, tmp_path, capsys
):
    train(toy_config(num_steps=4, **{"model.width": 500}), tmp_path, **FACTORIES)
    newest = tmp_path / "checkpoints" / "4"
    damage(newest)
    with pytest.raises(UserError, match=f"checkpoint {newest} is damaged, .*: remove") as error:
        read_weights(tmp_path)
    assert "\n" not in str(error.value)
    capsys.readouterr()
    train(toy_config(num_steps=6, **{"model.width": 500}), tmp_path, **FACTORIES)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "damaged" in line]
    assert line.startswith("the checkpoint of step 4 is damaged, ")
    assert line.endswith(
        f"it was moved to {tmp_path / 'damaged_checkpoints' / '4'}, and training continues from "
        "the one before it"
    )
    assert_equal_bits(read_state(tmp_path), whole)
    assert (tmp_path / "damaged_checkpoints" / "4").is_dir()


def test_checkpoint_of_an_older_version_is_gone_on_from(whole, tmp_path):
    train(toy_config(num_steps=4, **{"model.width": 500}), tmp_path, **FACTORIES)
    save_as_older_versions_did(tmp_path / "checkpoints" / "4")
    train(toy_config(num_steps=6, **{"model.width": 500}), tmp_path, **FACTORIES)
    assert_equal_bits(read_state(tmp_path), whole)
    assert not (tmp_path / "damaged_checkpoints").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ESTALE, "Stale file handle"),
        ValueError("UNKNOWN: Error reading local file [OS error 5: EIO Input/output error]"),
    ],
)
def test_disk_that_does_not_answer_is_no_damage(error):
    with (
        pytest.raises(UserError, match=r"cannot read the checkpoint .* now .*try again") as raised,
        reading._damaged_if_unreadable(Path("run/checkpoints/4"), "state"),
    ):
        raise error
    assert not isinstance(raised.value, reading.DamagedCheckpoint)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("samples", b"", r"cannot read or write .*samples: File exists"),
        ("metrics.jsonl", b"\xff\xfe", r"metrics\.jsonl is not a text file: move it away"),
        ("config.json", None, r"config\.json is a folder: name the file to write"),
    ],
)
def test_workdir_that_cannot_be_written_to_is_one_line_before_the_first_step(
    name, content, message, tmp_path, capsys
):
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        train(toy_config(), tmp_path, **FACTORIES)
    assert "\n" not in str(error.value)
    assert "compiling" not in capsys.readouterr().out


def test_nothing_but_damaged_checkpoints_is_no_reason_to_begin_anew(tmp_path):
    train(toy_config(), tmp_path, **FACTORIES)
    for step in ("2", "4"):
        remove_a_file(tmp_path / "checkpoints" / step)
    with pytest.raises(UserError, match=r"every checkpoint in .* that of step 4") as error:
        train(toy_config(num_steps=6), tmp_path, **FACTORIES)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "4"]


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_gradient_that_is_not_finite_stops_before_the_state_is_saved(mode, tmp_path):
    config = toy_config(
        num_steps=20, parallel=mode, save_every_steps=1, log_every_steps=20,
        break_gradient_at_step=7
    )  # fmt: skip
    with pytest.raises(UserError, match=r"step 7 gave gradients that .*, with loss = \d") as error:
        train(config, tmp_path, **FACTORIES)
    assert "\n" not in str(error.value)
    assert read_weights(tmp_path).step == 6


@pytest.fixture
def small_disk(tmp_path):
    with small_disks.small_disk(tmp_path, "11m") as path:
        yield path


FILLING = {
    "num_steps": 30, "save_every_steps": 1, "keep_checkpoints": 100, "model.width": 20_000
}  # fmt: skip


def assert_disk_is_full(line):
    assert line.startswith("error: cannot write ")
    assert "no space is left on the disk" in line


def newest_whole(workdir):
    with Checkpoints(workdir, keep_newest=100, keep_every_steps=0) as checkpoints:
        newest = checkpoints.newest_whole()
        assert newest == checkpoints.latest_step()
    assert newest >= 1
    return newest


def test_full_disk_stops_the_training_in_one_line_with_its_last_checkpoint_whole(small_disk):
    process = start_toy(small_disk / "run", **FILLING)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert errors.count("\n") == 1, errors
    assert_disk_is_full(errors)
    newest = newest_whole(small_disk / "run")

    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    train(toy_config(**FILLING | {"num_steps": newest + 2}), small_disk / "run", **FACTORIES)
    whole = FILLING | {"num_steps": newest + 2, "save_every_steps": 0}
    train(toy_config(**whole), small_disk / "whole", **FACTORIES)
    assert_equal_bits(read_state(small_disk / "run"), read_state(small_disk / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("save_every_steps", [1, 3])  # found by waiting, and between two saves
def test_full_disk_ends_both_of_two_processes(save_every_steps, small_disk):
    settings = FILLING | {"save_every_steps": save_every_steps, "data.step_seconds": 0.1}
    processes = start_two(small_disk / "run", **settings)
    end = time.monotonic() + 300
    while all(process.poll() is None for process in processes):
        assert time.monotonic() < end, "nobody noticed that the disk is full"
        time.sleep(0.1)
    (_, first), (_, second) = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [2, 2], first + second
    (line,) = first.splitlines()
    assert_disk_is_full(line)
    assert second.splitlines() in (
        ["error: process 0 could not continue: see what it printed"],
        ["error: another process failed: see what it printed"],
    )
    newest = newest_whole(small_disk / "run")
    assert newest % save_every_steps == 0
