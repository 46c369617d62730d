import json

import pytest

from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.metrics_file import drop_later_lines


def test_later_and_broken_lines_go(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step}) for step in (10, 20, 30)]
    path.write_text("\n".join(lines) + '\n{"step": 1')
    drop_later_lines(path, 20)
    assert path.read_text() == '{"step": 10}\n{"step": 20}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"loss": 1}', '{"step": "x"}'])
def test_broken_line_before_the_last_is_named(broken, tmp_path):
    path = tmp_path / "metrics.jsonl"
    text = f'{{"step": 1}}\n{broken}\n{{"step": 3}}\n'
    path.write_text(text)
    with pytest.raises(UserError, match=f"line 2 of {path} does not hold the metrics of a step"):
        drop_later_lines(path, 20)
    assert path.read_text() == text


def test_no_metrics_file_is_no_error(tmp_path):
    drop_later_lines(tmp_path / "metrics.jsonl", 20)
    assert not list(tmp_path.iterdir())
