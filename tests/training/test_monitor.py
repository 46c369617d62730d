import json

import pytest

from faceshifter_jax.training.monitor import drop_later_lines, format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3 * 3600 + 59, "3 h 00 min"),
        (86400 * 2 + 3600 * 5, "2 d 5 h"),
    ],
)
def test_durations_read_in_their_two_largest_units(seconds, text):
    assert format_duration(seconds) == text


def test_later_and_broken_lines_go(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step}) for step in (10, 20, 30)]
    path.write_text("\n".join(lines) + '\n{"step": 1')
    drop_later_lines(path, 20)
    assert path.read_text() == '{"step": 10}\n{"step": 20}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_no_metrics_file_is_no_error(tmp_path):
    drop_later_lines(tmp_path / "metrics.jsonl", 20)
    assert not list(tmp_path.iterdir())
