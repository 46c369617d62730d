"""An error that nobody foresaw, in one of two real processes."""

from toy import start_two


def test_unexpected_exception_in_one_process_ends_the_other(tmp_path):
    unforeseen = {"data.step_seconds": -1}  # refused by time.sleep
    both = start_two(tmp_path, {}, unforeseen, num_steps=5000)
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [2, 1], outputs
    (_, first), (_, second) = outputs
    (line,) = [line for line in first.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: another process is gone or cannot be reached (")
    assert second.splitlines()[-1].startswith("ValueError: ")
    assert "Traceback" in second
