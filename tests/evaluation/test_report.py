"""The picture of an evaluation."""

import numpy as np
from PIL import Image

from faceshifter_jax.evaluation.report.image_grid import ROWS, write_report


def columns(names, count, size=16):
    """Each row of its own grey, so that rows can be told apart in the picture."""
    greys = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return {name: np.broadcast_to(greys, (count, size, size, 3)).copy() for name in names}


def test_rows_are_samples_and_each_is_shown_once(tmp_path):
    path = tmp_path / "report.png"
    write_report([columns("ab", 200), columns("abc", 9)], path)
    picture = np.asarray(Image.open(path))
    assert picture.shape == (2 * (18 + ROWS // 2 * 130) + 12, 3 * 130, 3)
    first = picture[18 + 64 : 18 + 7 * 130 : 130, 64, 0]
    second = picture[18 + 7 * 130 + 12 + 18 + 64 :: 130, 64, 0]
    for shown, count in ((first, 200), (second, 9)):
        assert len(set(shown.tolist())) == ROWS // 2
        assert (shown < count).all()
    assert (picture[18 : 18 + 7 * 130, 2 * 130 :] == 255).all(), "a narrower grid ends earlier"
    write_report([columns("ab", 200), columns("abc", 9)], tmp_path / "again.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "again.png")), picture)


def test_a_part_with_few_samples_shows_them_all(tmp_path):
    write_report([columns("a", 2, size=200)], tmp_path / "report.png")
    assert Image.open(tmp_path / "report.png").size == (202, 18 + 2 * 202)
