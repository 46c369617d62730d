"""The main job on embedded faces: `make demo`.

Renders faces, trains an identity network, a second one that judges, AEI-Net and HEAR-Net, then
swaps faces of people that none of them has seen. It only calls the commands that it prints.
The judge is trained beside AEI-Net, because nothing needs it before the end: while that one
compiles, and for a part of each of its steps, a core has nothing to do.
"""

import contextlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

RUNS = Path("runs/demo")
TRAIN_DATA, JUDGE_DATA = RUNS / "data" / "train", RUNS / "data" / "judge"
ARCFACE, JUDGE, AEI, HEAR = (RUNS / name for name in ("arcface", "judge", "aei", "hear"))
JUDGE_LOG = RUNS / "judge.log"

FACESHIFTER = [sys.executable, "-m", "faceshifter_jax.cli"]
TRAIN = [sys.executable, "train.py"]


def run(title: str, command: list[str | Path]) -> None:
    """Prints a command as one would type it, runs it, and leaves with its code if it fails."""
    begin = time.monotonic()
    code = wait(subprocess.Popen(announce(title, command)))
    if code:
        sys.exit(code)
    print(f"   took {time.monotonic() - begin:.0f} s", flush=True)


def announce(title: str, command: list[str | Path]) -> list[str]:
    """Prints a command as one would type it, and returns its words."""
    words = [str(word) for word in command]
    shown = ["faceshifter", *words[3:]] if words[:3] == FACESHIFTER else ["python", *words[1:]]
    print(f"\n== {title}\n$ {shlex.join(shown)}", flush=True)
    return words


@contextlib.contextmanager
def beside(title: str, command: list[str | Path], log: Path) -> Iterator[subprocess.Popen]:
    """Runs a command while others run, with its output in a file.

    If those fail or are interrupted, it is told to save and stop, too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        process = subprocess.Popen(announce(title, command), stdout=file, stderr=file)
    print(f"   beside the next ones; its output goes to {log}", flush=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            wait(process)


def wait(process: subprocess.Popen) -> int:
    """Returns the exit code; after Ctrl-C, which the command also gets, it may finish saving."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            print("waiting for the command to save and stop", flush=True)


def render(title: str, out: Path, identities: int, seed: int) -> None:
    """Renders a dataset unless an earlier demo has left it."""
    if out.exists():
        print(f"\n== {title}\n   {out} is there from an earlier run", flush=True)
        return
    options = [f"--identities={identities}", "--pictures=10", "--size=64", "--occluders=0.1"]
    run(title, [*FACESHIFTER, "render", out, *options, f"--seed={seed}"])


def main() -> None:
    begin = time.monotonic()
    print("The demo renders faces, trains four networks on them and swaps faces of people that")
    print("none of the networks has seen: about a quarter of an hour on two cores. To type the")
    print("commands yourself, first: . .venv/bin/activate")
    render("faces to train on", TRAIN_DATA, identities=600, seed=1)
    render("other people, for the judge", JUDGE_DATA, identities=500, seed=2)
    judge = [
        *TRAIN, "--config", "configs/arcface.py:demo", "--workdir", JUDGE,
        "--config.seed=1", f"--config.data.path={JUDGE_DATA}",
    ]  # fmt: skip
    train("the identity network, which AEI-Net's loss uses", "arcface", ARCFACE)
    with beside("the judge: another seed, other people", judge, JUDGE_LOG) as judging:
        train("AEI-Net, which swaps faces", "aei", AEI)
        train("HEAR-Net, which gives back what AEI-Net loses: glasses, hands, hair", "hear", HEAR)
        if wait(judging):
            sys.exit(f"error: the judge's training failed, and {JUDGE_LOG} says why")
    run(
        "200 swaps of 100 people never trained on, and 200 with something in front of the face",
        [*FACESHIFTER, "evaluate", "--checkpoint", HEAR, "--judge", JUDGE, "--output", RUNS],
    )
    summarise(json.loads((RUNS / "metrics.json").read_text()), time.monotonic() - begin)


def train(title: str, config: str, workdir: Path) -> None:
    """Trains with the demo variant of a config."""
    run(title, [*TRAIN, "--config", f"configs/{config}.py:demo", "--workdir", workdir])


def summarise(metrics: dict[str, float], seconds: float) -> None:
    """Prints in words what came out."""
    print(f"""
Done in {seconds / 60:.1f} minutes. Of {metrics["pairs"]} swaps
  {metrics["swap_nearer_source"]:.0%} look more like the source than like the target \
(the right answers: {metrics["answer_nearer_source"]:.0%}),
  {metrics["id_retrieval_top1"]:.0%} are recognised among {metrics["identities"]} people \
(the right answers: {metrics["answer_retrieval_top1"]:.0%}),
  and they come to {metrics["psnr_swap"]:.1f} dB of the right answer; the target itself to \
{metrics["psnr_copy_target"]:.1f} dB.
Where something is in front of {metrics["pairs"]} other faces, AEI-Net errs there by \
{metrics["occluder_error_aei"]:.1f} grey levels, HEAR-Net by {metrics["occluder_error_hear"]:.1f}.
Look at {RUNS / "report.html"}, {AEI / "samples"}, {HEAR / "samples"}
and: tensorboard --logdir {RUNS}""")


if __name__ == "__main__":
    main()
