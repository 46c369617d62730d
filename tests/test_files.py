"""Files that are either complete or absent."""

import contextlib
import os
import resource
import socket
from pathlib import Path

import pytest

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import publish_file, unfinished_work, write_text
from faceshifter_jax.places import check_replaceable


@contextlib.contextmanager
def no_file_may_grow():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_text_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "text"
    write_text(path, "old")
    with pytest.raises(OSError, match="File too large"), no_file_may_grow():
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def plant_links(folder, victim):
    """Links with the names that files next to a result used to have."""
    pid = os.getpid()
    for number in range(50):
        (folder / f".out.txt.{pid}.{number}").symlink_to(victim)
    (folder / ".out.txt").symlink_to(victim)


def test_planted_links_are_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "shared"
    folder.mkdir()
    plant_links(folder, victim)
    write_text(folder / "out.txt", "new")
    with publish_file(folder / "out.txt", overwrite=True) as beside:
        assert not beside.is_symlink()
        beside.write_text("newer")
    assert victim.read_text() == "mine"
    assert (folder / "out.txt").read_text() == "newer"


def test_a_link_at_the_place_itself_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out.txt").symlink_to(victim)
    with publish_file(tmp_path / "out.txt", overwrite=True) as beside:
        beside.write_text("new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "out.txt").read_text() == "new"
    assert not (tmp_path / "out.txt").is_symlink()


def make_pipe(path):
    os.mkfifo(path)


def make_link_to_device(path):
    path.symlink_to("/dev/full")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_device, Path.mkdir])
def test_what_is_no_ordinary_file_is_not_replaced(make, tmp_path):
    path = tmp_path / "out"
    make(path)
    before = path.lstat()
    with pytest.raises(UserError, match=r"is a (pipe|socket|device|folder)"):
        check_replaceable(path, overwrite=True)
    with pytest.raises(UserError), publish_file(path, overwrite=True):
        pytest.fail("the work would begin")
    assert path.lstat().st_ino == before.st_ino
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_no_file_can_have_is_found_before_the_work(tmp_path):
    with (
        pytest.raises(UserError, match="File name too long"),
        publish_file(tmp_path / ("n" * 256), overwrite=False),
    ):
        pytest.fail("the work would begin")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_the_longest_names_can_be_written(name, tmp_path):
    with publish_file(tmp_path / name, overwrite=False) as beside:
        beside.write_text("whole")
    with unfinished_work(tmp_path / name, {}) as work:
        assert work.folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_full_disk_is_one_line_that_names_the_file_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(UserError, match=r"cannot write .*/out: no space is left on the disk"),
        no_file_may_grow(),
        publish_file(tmp_path / "out", overwrite=False) as beside,
    ):
        beside.write_text("more than nothing")
    assert not list(tmp_path.iterdir())
