"""The main job on embedded faces: `make demo`.

Swaps a face with the networks that come with the package, trains a small AEI-Net and HEAR-Net from
scratch on rendered faces, and measures the swaps of both, of people that no training run has
seen, side by side. It only calls the commands that it prints.
"""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from faceshifter_jax.evaluation.presentation import (
    format_interval,
    format_value,
    metric_of,
    pleases_the_judge,
)
from faceshifter_jax.evaluation.protocols.rendered_pairs import render_ground_truth
from faceshifter_jax.networks.file import read_network_file
from faceshifter_jax.networks.shipped import PREFIX, find_shipped, shipped_names

RUNS = Path("runs/demo")
DATA, AEI, HEAR = RUNS / "data" / "train", RUNS / "aei", RUNS / "hear"
FIRST, SHIPPED, TRAINED = RUNS / "first_swap", RUNS / "shipped", RUNS / "trained"
REPORT = RUNS / "report.html"
JUDGE, NEEDED = "judge", {"aei", "hear", "identity", "judge"}

FACESHIFTER = [sys.executable, "-m", "faceshifter_jax.cli"]
TRAIN = [sys.executable, "train.py"]

# What a row of the summary says: label, metric of the swaps, of the right answers, of copying.
_ROWS = (
    ("gain over copying the target, in the face", "face_psnr_gain", None, 0.0),
    ("the same where the two people differ", "differ_psnr_gain", None, 0.0),
    ("another source changes the face by, grey levels",
     "identity_change_swap", "identity_change_answer", 0.0),
    ("specks in the face (1: none)", "speck_index", 1.0, 1.0),
    ("fine detail in the face (1: all, less: blurred)",
     "detail_index", 1.0, "detail_index_copy_target"),
    ("recognised as the source among all people",
     "id_retrieval_top1", "answer_retrieval_top1", "copy_target_retrieval_top1"),
    ("error where something is in front, AEI-Net", "occluder_error_aei", 0.0, None),
    ("the same, HEAR-Net", "occluder_error_hear", 0.0, None),
)  # fmt: skip


def run(title: str, command: Sequence[str | Path]) -> None:
    """Prints a command as one would type it, runs it, and leaves with its code if it fails."""
    begin = time.monotonic()
    words = [str(word) for word in command]
    shown = ["faceshifter", *words[3:]] if words[:3] == FACESHIFTER else ["python", *words[1:]]
    print(f"\n== {title}\n$ {shlex.join(shown)}", flush=True)
    code = wait(subprocess.Popen(words))
    if code:
        sys.exit(code)
    print(f"   took {time.monotonic() - begin:.0f} s", flush=True)


def wait(process: subprocess.Popen) -> int:
    """Returns the exit code; after Ctrl-C, which the command also gets, it may finish saving."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            print("waiting for the command to save and stop", flush=True)


def swap_first() -> None:
    """Draws two people, and swaps their faces with the networks that come with the package."""
    network = read_network_file(find_shipped("shipped:aei")).networks["generator"]
    truth = render_ground_truth(network.image_size or 128, num_pairs=1, num_identities=2)
    FIRST.mkdir(parents=True, exist_ok=True)
    drawn = {"source": truth.sources(), "target": truth.target, "right_answer": truth.answer}
    for name, pictures in drawn.items():
        Image.fromarray(pictures[0]).save(FIRST / f"{name}.png")
    run(
        "a first swap, by the networks that come with the package",
        [
            *(*FACESHIFTER, "swap", "--aligned", "--overwrite"),
            *("--source", FIRST / "source.png", "--target", FIRST / "target.png"),
            *("--output", FIRST / "swap.png"),
        ],
    )
    print(f"   look at {FIRST}: source, target, swap, and the right answer, which is drawn")


def render_data() -> None:
    """Renders people to train on, unless an earlier demo has left them."""
    title = (
        "faces to train on: four people each under the same attributes, so that answers are known"
    )
    if DATA.exists():
        print(f"\n== {title}\n   {DATA} is there from an earlier run", flush=True)
        return
    numbers = ["--identities=800", "--pictures=8", "--group-size=4", "--size=64"]
    run(title, [*FACESHIFTER, "render", DATA, *numbers, "--occluders=0.1", "--seed=1"])


def train(title: str, config: str, workdir: Path) -> None:
    """Trains with the demo variant of a config."""
    run(title, [*TRAIN, "--config", f"configs/{config}.py:demo", "--workdir", workdir])


def evaluate(title: str, output: Path, *options: str | Path) -> dict[str, Any]:
    """Measures 200 swaps of 100 people; returns what metrics.json holds."""
    run(title, [*FACESHIFTER, "evaluate", *options, "--output", output])
    return json.loads((output / "metrics.json").read_text())


def main() -> None:
    begin = time.monotonic()
    if missing := sorted(NEEDED - set(shipped_names())):
        sys.exit(
            f"error: this copy of the package comes without the trained networks "
            f"{', '.join(missing)}: make them with scripts/ship_networks.py, or take a complete "
            "copy"
        )
    print("The demo swaps a face with the networks of the package, trains smaller ones before your")
    print(
        "eyes, and measures both on people that none has seen: about fifteen minutes on two cores."
    )
    print("To type the commands yourself, first: . .venv/bin/activate")
    swap_first()
    render_data()
    train("AEI-Net, which swaps faces, from scratch", "aei", AEI)
    train("HEAR-Net, which gives back what AEI-Net loses: glasses, hands, hair", "hear", HEAR)
    trained = evaluate(
        "the networks just trained: swaps of people that they have not seen",
        TRAINED, "--checkpoint", HEAR, "--judge", f"{PREFIX}{JUDGE}",
    )  # fmt: skip
    shipped = evaluate("the networks of the package: swaps of the same people, larger", SHIPPED)
    columns = {"come with the package": shipped, "were trained here": trained}
    compare = ["compare", SHIPPED, TRAINED, "--report", REPORT, "--overwrite"]
    run("both side by side", [*FACESHIFTER, *compare])
    reports = [REPORT, TRAINED / "report.html", SHIPPED / "report.html"]
    print(f"\nDone in {(time.monotonic() - begin) / 60:.1f} minutes.")
    print("\n".join(summarise(columns)))
    print(f"Look at {', '.join(map(str, reports))},")
    print(f"at {AEI / 'samples'} and {HEAR / 'samples'}; and: tensorboard --logdir {RUNS}")


def summarise(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What came out, in words.

    Args:
      columns: what an evaluation is of -> its metrics.json.

    Returns:
      the lines of a table for each, with the figures of the right answers and of copying beside
      those of the swaps; what pleases the judge is said below it.
    """
    lines = []
    for title, record in columns.items():
        size, steps = record["image_size"], record["step"]
        after = f", {steps:,} steps" if steps else ""
        lines += ["", f"The networks that {title} ({record['stages']}, {size} pixels{after})"]
        lines.append(f"  {'':48s}{'swap':>10s}{'':22s}{'right':>10s}{'copy':>10s}")
        for label, swap, right, copy in _ROWS:
            if swap not in record:
                continue
            shown = [_value(figure, swap, record) for figure in (swap, right, copy)]
            interval = f"({format_interval(swap, record)})"
            lines.append(
                f"  {label:48s}{shown[0]:>10s} {interval:21s}{shown[1]:>10s}{shown[2]:>10s}"
            )
        lines += [
            f"  ! {name}: {format_value(name, record)} {said}"
            for name in record["intervals"]
            if (said := pleases_the_judge(name, record))
        ]
    return lines


def _value(figure: str | float | None, metric: str, record: Mapping[str, Any]) -> str:
    if figure is None:
        return ""
    if isinstance(figure, str):
        return format_value(figure, record)
    return metric_of(metric, record).format(figure)


if __name__ == "__main__":
    main()
