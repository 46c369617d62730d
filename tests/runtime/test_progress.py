import io

import pytest

from faceshifter_jax.runtime import progress as progress_module
from faceshifter_jax.runtime.progress import Progress, format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (3 * 3600 + 59, "3 h 00 min"),
        (86400 * 2 + 3600 * 5, "2 d 5 h"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_the_time_left_follows_the_rate(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress("rendering", 1000, stream)
    for _ in range(100):
        now[0] += 0.25
        progress.advance()
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert lines == [
        "rendering: 40 of 1000 pictures, 4 a second, 4 min 00 s left",
        "rendering: 80 of 1000 pictures, 4 a second, 3 min 50 s left",
        "rendering: 100 pictures in 25 s",
    ]
