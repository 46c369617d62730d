"""Ablation of each loss term and of the second stage, on embedded faces.

Trains AEI-Net of the demo, the same with each loss term left out in turn, and HEAR-Net on the
whole one; evaluates all of them on the same pairs by the judge that comes with the package and
compares them. It needs the faces that `make demo` leaves in runs/demo, only calls the commands that
it prints, and continues where it stopped. Options go to every training run:
scripts/ablation.py --config.num_steps=500
"""

import shlex
import subprocess
import sys
from pathlib import Path

DATA, RUNS = Path("runs/demo/data/train"), Path("runs/ablation")
IDENTITY, JUDGE = "shipped:identity", "shipped:judge"
TERMS = ("adversarial", "attribute", "identity", "reconstruction")
FACESHIFTER = [sys.executable, "-m", "faceshifter_jax.cli"]
TRAIN = [sys.executable, "train.py"]


def run(command: list[str | Path]) -> None:
    """Prints a command as one would type it, runs it, and exits with its code if it fails."""
    words = [str(word) for word in command]
    shown = ["faceshifter", *words[3:]] if words[:3] == FACESHIFTER else ["python", *words[1:]]
    print(f"$ {shlex.join(shown)}", flush=True)
    code = subprocess.call(words)
    if code:
        sys.exit(code)


def train(config: str, workdir: Path, *options: str) -> None:
    """Trains, or continues or keeps the run of an earlier call."""
    words = ["--config", f"configs/{config}.py:demo", "--workdir", workdir]
    run([*TRAIN, *words, f"--config.identity.weights={IDENTITY}", *options])


def evaluate(workdir: Path) -> Path:
    """Evaluates by the ground truth; returns where the report is."""
    output = workdir / "evaluation" / "ground-truth"
    if not (output / "metrics.json").exists():
        run([*FACESHIFTER, "evaluate", "--checkpoint", workdir, "--judge", JUDGE])
    return output


def main() -> None:
    if not DATA.exists():
        sys.exit(f"error: no {DATA}: run `make demo` first")
    options = sys.argv[1:]
    whole, hear = RUNS / "aei", RUNS / "hear"
    train("aei", whole, *options)
    evaluated = [evaluate(whole)]
    for term in TERMS:
        workdir = RUNS / f"without_{term}"
        train("aei", workdir, f"--config.loss.{term}=0.0", *options)
        evaluated.append(evaluate(workdir))
    train("hear", hear, f"--config.aei.weights={whole}", *options)
    evaluated.append(evaluate(hear))
    run([*FACESHIFTER, "compare", *evaluated, "--output", RUNS / "table.csv", "--overwrite"])


if __name__ == "__main__":
    main()
