"""Files that are either complete or absent."""

import contextlib
import resource

import pytest

from faceshifter_jax.files import write_text


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
