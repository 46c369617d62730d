import numpy as np
import pytest
from PIL import Image

from faceshifter_jax.media.grid import draw_grid, write_grid
from faceshifter_jax.media.levels import to_uint8


def test_pixels_lie_where_row_and_column_say(tmp_path):
    source = np.linspace(-1, 1, 2 * 30 * 40 * 3).reshape(2, 30, 40, 3)
    mask = np.full((2, 30, 40, 1), -1.0)
    mask[1] = 1.0
    answer = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), np.uint8)
    path = tmp_path / "deep" / "grid.png"
    written = write_grid({"source": source, "mask": mask, "right answer": answer}, path)
    read = np.asarray(Image.open(path))
    np.testing.assert_array_equal(read, written)
    assert read.shape == (18 + 2 * 32, 3 * 42, 3)
    np.testing.assert_array_equal(read[18:48, :40], to_uint8(source[0], -1, 1))
    np.testing.assert_array_equal(read[50:80, :40], to_uint8(source[1], -1, 1))
    assert (read[18:48, 42:82] == 0).all()
    assert (read[50:80, 42:82] == 255).all()
    np.testing.assert_array_equal(read[50:80, 84:124], answer[1])
    assert [entry.name for entry in path.parent.iterdir()] == ["grid.png"]


def test_every_column_has_its_title():
    picture = np.ones((1, 32, 64, 3))
    titles = draw_grid({"swap": picture, "": picture})[:18]
    assert (titles[:, :66] < 128).any(), "a title is drawn in dark letters"
    assert (titles[:, 66:] == 255).all(), "and nothing without a name"


def test_values_outside_the_range_are_clipped():
    np.testing.assert_array_equal(to_uint8(np.array([-3.0, -1.0, 0.0, 1.0, 2.0]), -1, 1),
                                  [0, 0, 128, 255, 255])  # fmt: skip


def test_columns_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="one common shape"):
        draw_grid({"a": np.zeros((1, 4, 4, 3)), "b": np.zeros((1, 8, 8, 3))})
    with pytest.raises(ValueError, match="one common shape"):
        draw_grid({})
