import json

import numpy as np
import pytest

from faceshifter_jax.tasks.health import Health, HealthCheck, HealthWatch, average_metrics
from faceshifter_jax.training.monitor import Monitor

COPIES = HealthCheck("{nearer:.0%} nearer: raise it", below={"nearer": 0.5})
WINS = HealthCheck("right {real:.0%}: lower it", above={"real": 0.9, "fake": 0.9})


def steps(number, nearer=1.0, weight=1.0, real=0.5, fake=0.5):
    metrics = {"nearer": nearer, "weight": weight, "real": real, "fake": fake}
    return [{name: np.float32(value) for name, value in metrics.items()}] * number


def health(**changes):
    settings = {"weights": {"nearer": "weight"}, "shown": {"nearer": "near"},
                "checks": (COPIES, WINS), "warn_after_steps": 20, "window_steps": 10}  # fmt: skip
    return Health(**(settings | changes))


def test_steps_count_by_their_weights():
    metrics = steps(1, nearer=1.0, weight=0.25) + steps(1, nearer=0.2, weight=0.75, real=1.0)
    averages = average_metrics(metrics, {"nearer": "weight"})
    assert averages["nearer"] == pytest.approx(0.25 + 0.75 * 0.2)
    assert averages["real"] == 0.75
    assert "nearer" not in average_metrics(steps(3, weight=0.0), {"nearer": "weight"})


def test_it_warns_once_after_the_stated_steps():
    watch = HealthWatch(health())
    assert watch.add(10, steps(10, nearer=0.1)) == []
    assert watch.add(20, steps(10, nearer=0.1)) == ["warning: after 20 steps 10% nearer: raise it"]
    assert watch.add(30, steps(10, nearer=0.1)) == []


def test_each_sign_has_a_warning_of_its_own():
    watch = HealthWatch(health())
    assert len(watch.add(20, steps(10, nearer=0.1))) == 1
    assert watch.add(30, steps(10, nearer=0.1, real=1.0)) == []
    assert watch.add(40, steps(10, nearer=0.1, real=1.0, fake=1.0)) == [
        "warning: after 40 steps right 100%: lower it"
    ]


def test_the_last_steps_are_judged_on_average():
    watch = HealthWatch(health())
    assert watch.add(19, steps(19, nearer=0.0)) == []
    # One bad step among good ones is noise; the bad ones of long ago are forgotten.
    assert watch.add(29, steps(9) + steps(1, nearer=0.0)) == []
    assert len(watch.add(35, steps(6, nearer=0.0))) == 1


def test_a_resumed_training_is_judged_by_its_own_steps():
    watch = HealthWatch(health())
    assert watch.add(1005, steps(5, nearer=0.0)) == []
    assert len(watch.add(1010, steps(5, nearer=0.0))) == 1


def test_no_swaps_no_warning():
    assert HealthWatch(health()).add(20, steps(20, nearer=0.0, weight=0.0)) == []


def test_it_can_be_turned_off():
    watch = HealthWatch(health(warn_after_steps=0))
    assert watch.add(1_000_000, steps(100, nearer=0.0)) == []


def test_monitor_shows_what_the_task_wants_seen_and_prints_the_warning_once(tmp_path, capsys):
    monitor = Monitor(tmp_path, first_step=0, num_steps=40, health=health())
    for step in range(1, 41):
        (metrics,) = steps(1, nearer=0.25)
        monitor.add({"generator_loss": np.float32(1.5), **metrics})
        if step % 10 == 0:
            monitor.report(step, 8, 0.0)
    monitor.close()
    printed = capsys.readouterr().out
    assert "step 10/40 (25.0 %)  generator 1.5  near 0.25  " in printed
    assert "real" not in printed
    assert printed.count("warning: after 20 steps 25% nearer: raise it\n") == 1
    assert printed.count("warning") == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["nearer"] for line in lines] == [0.25] * 4
    assert [line["real"] for line in lines] == [0.5] * 4
