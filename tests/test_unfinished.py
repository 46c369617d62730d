import contextlib
import errno
import fcntl
import os

import pytest

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import check_place, locked, unfinished_work


def refuse_with(number):
    def flock(*_arguments):
        raise OSError(number, "refused")

    return flock


def test_one_at_a_time_is_inside_and_the_next_one_after_it(tmp_path):
    for _ in range(2):
        with (
            locked(tmp_path / "lock", "busy"),
            pytest.raises(UserError, match="busy"),
            locked(tmp_path / "lock", "busy"),
        ):
            pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_file_system_without_locks_keeps_nobody_out(number, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refuse_with(number))
    with locked(tmp_path / "lock", "busy"):
        pass


def test_other_failures_are_not_taken_for_a_lack_of_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refuse_with(errno.EIO))
    with pytest.raises(OSError, match="refused"), locked(tmp_path / "lock", "busy"):
        pass


def victim_folder(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("mine")
    return victim


def test_a_link_planted_for_the_folder_is_refused_and_its_target_untouched(tmp_path):
    victim = victim_folder(tmp_path)
    (tmp_path / ".film.mp4.unfinished").symlink_to(victim)
    with (
        pytest.raises(UserError, match=r"\.film\.mp4\.unfinished is a link"),
        unfinished_work(tmp_path / "film.mp4", {"plan": 1}),
    ):
        pytest.fail("the work would begin")
    with pytest.raises(UserError, match="is a link"):
        check_place(tmp_path / "film.mp4")
    assert [path.name for path in victim.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["lock", "work.json", "part"])
def test_links_planted_inside_lead_nowhere(name, tmp_path):
    victim = victim_folder(tmp_path)
    folder = tmp_path / ".film.mp4.unfinished"
    folder.mkdir()
    (folder / name).symlink_to(victim / "precious")
    (folder / "more").symlink_to(victim)
    with (
        contextlib.suppress(UserError),
        unfinished_work(tmp_path / "film.mp4", {"plan": 1}) as work,
    ):
        assert not work.begun
        assert not any(entry.is_symlink() for entry in work.folder.iterdir())
    assert (victim / "precious").read_text() == "mine"


def test_a_folder_of_another_user_or_open_to_all_is_refused(tmp_path):
    folder = tmp_path / ".film.mp4.unfinished"
    folder.mkdir()
    folder.chmod(0o777)
    with (
        pytest.raises(UserError, match="anyone may write"),
        unfinished_work(tmp_path / "film.mp4", {}),
    ):
        pytest.fail("the work would begin")
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder, 12345, 12345)
        with (
            pytest.raises(UserError, match="belongs to another user"),
            unfinished_work(tmp_path / "film.mp4", {}),
        ):
            pytest.fail("the work would begin")


def test_what_was_begun_goes_on_and_is_for_its_owner_alone(tmp_path):
    for begun in (False, True):
        with (
            contextlib.suppress(KeyboardInterrupt),
            unfinished_work(tmp_path / "film.mp4", {"plan": 1}) as work,
        ):
            assert work.begun == begun
            assert work.folder.stat().st_mode & 0o777 == 0o700
            raise KeyboardInterrupt
