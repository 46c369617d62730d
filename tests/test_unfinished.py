import errno
import fcntl

import pytest

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import locked


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
