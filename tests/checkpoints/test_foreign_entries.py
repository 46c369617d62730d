"""What lies among checkpoints and is none."""

import pytest

from faceshifter_jax.checkpoints.manager import Checkpoints
from faceshifter_jax.checkpoints.reading import find_steps, is_step
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.errors import UserError


def test_only_folders_with_names_of_plain_digits_are_checkpoints(tmp_path):
    for name in ("7", "12", "²", "³4", "٣", "1" * 30, "12.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "99").write_text("a file")
    assert sorted(find_steps(tmp_path)) == [7, 12]
    assert find_steps(tmp_path / "99") == []
    assert not any(map(is_step, ("", "²", "-1", "+1", " 1", "1_0", "٣")))


@pytest.mark.parametrize(
    "make", [lambda path: (path / "²").mkdir(parents=True), lambda path: path.touch()]
)
def test_a_workdir_without_a_checkpoint_is_one_line(make, tmp_path):
    make(tmp_path / "checkpoints")
    with pytest.raises(UserError, match="no weights at"):
        read_weights(tmp_path)
    with Checkpoints(tmp_path, keep_newest=1, keep_every_steps=0) as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.newest_whole() is None


def test_a_file_where_the_folder_of_checkpoints_should_be_is_one_line(tmp_path):
    (tmp_path / "checkpoints").touch()
    with (
        Checkpoints(tmp_path, keep_newest=1, keep_every_steps=0) as checkpoints,
        pytest.raises(UserError, match="cannot create the directory"),
    ):
        checkpoints.create()
