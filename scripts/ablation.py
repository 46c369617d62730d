"""Ablation of AEI-Net's settings and loss terms, on embedded faces with right answers.

Trains the demo's AEI-Net as a whole, the same in the published layout, with each setting that
differs from it alone, and with each loss term left out; evaluates all of them on the same pairs by
the judge that comes with the package, and puts their swaps next to each other in one report. It
needs the faces that `make demo` leaves in runs/demo, only calls the commands that it prints, and
continues where it stopped. Names of variants select some; other options go to every training run:

    scripts/ablation.py whole published --config.num_steps=500
"""

import shlex
import subprocess
import sys
from pathlib import Path

DATA, RUNS = Path("runs/demo/data/train"), Path("runs/ablation")
JUDGE = "shipped:judge"
FACESHIFTER = [sys.executable, "-m", "faceshifter_jax.cli"]
TRAIN = [sys.executable, "train.py"]

# As many levels as pictures have halvings, which the demo's AEI-Net does without.
_ALL_LEVELS: dict[str, str | float] = {
    "model.generator_channels": "(128,128,128,64,32)",
    "model.flow_pixels": 4,
}
# The published layout, which the variants named `alone` change in one respect.
_PUBLISHED: dict[str, str | float] = _ALL_LEVELS | {
    "model.reduction": 1,
    "model.aad.norm": "instance",
    "model.identity_length": "unit",
    "model.output": "tanh",
    "model.encoder_up": "transposed",
    "model.generator_up": "corners",
}

# Variant -> settings that differ from the demo's.
VARIANTS: dict[str, dict[str, str | float]] = {
    "whole": {},
    "published": _PUBLISHED,
    "robust_alone": _PUBLISHED | {"model.aad.norm": "robust"},
    "demodulation_alone": _PUBLISHED | {"model.aad.norm": "demodulation"},
    "batch_alone": _PUBLISHED | {"model.aad.norm": "batch"},
    "length_alone": _PUBLISHED | {"model.identity_length": "sqrt"},
    "change_alone": _PUBLISHED | {"model.output": "change"},
    "warp_alone": _PUBLISHED | {"model.output": "warp"},
    "blend_alone": _PUBLISHED | {"model.output": "blend"},
    "resampling_alone": _PUBLISHED
    | {"model.encoder_up": "resize", "model.generator_up": "centres"},
    "change_instead": {"model.output": "change", "model.flow_pixels": 4},
    "all_levels_instead": _ALL_LEVELS,
    "all_levels_and_coarse_tints": _ALL_LEVELS | {"model.change_pixels": 2},
    "instance_instead": {"model.aad.norm": "instance"},
    "demodulation_instead": {"model.aad.norm": "demodulation"},
    "without_answers": {"loss.answer": 0.0, "data.answer_share": 0.0, "loss.identity": 4.0},
    "without_adversarial": {"loss.adversarial": 0.0},
    "without_attribute": {"loss.attribute": 0.0},
    "without_identity": {"loss.identity": 0.0},
    "without_reconstruction": {"loss.reconstruction": 0.0},
}


def run(command: list[str | Path]) -> None:
    """Prints a command as one would type it, runs it, and exits with its code if it fails."""
    words = [str(word) for word in command]
    shown = ["faceshifter", *words[3:]] if words[:3] == FACESHIFTER else ["python", *words[1:]]
    print(f"$ {shlex.join(shown)}", flush=True)
    code = subprocess.call(words)
    if code:
        sys.exit(code)


def measure(variant: str, options: list[str]) -> Path:
    """Trains a variant, or continues or keeps the run of an earlier call; returns its report."""
    workdir = RUNS / variant
    output = workdir / "evaluation" / "ground-truth"
    settings = [f"--config.{name}={value}" for name, value in VARIANTS[variant].items()]
    run([*TRAIN, "--config", "configs/aei.py:demo", "--workdir", workdir, *settings, *options])
    if not (output / "metrics.json").exists():
        run([*FACESHIFTER, "evaluate", "--checkpoint", workdir, "--judge", JUDGE])
    return output


def main() -> None:
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    if unknown := [name for name in names if name not in VARIANTS]:
        sys.exit(f"error: no variant {', '.join(unknown)}: there are {', '.join(VARIANTS)}")
    if not DATA.exists():
        sys.exit(f"error: no {DATA}: run `make demo` first")
    evaluated = [measure(name, options) for name in names or VARIANTS]
    if len(evaluated) > 1:
        run(
            [
                *(*FACESHIFTER, "compare", *evaluated, "--overwrite"),
                *("--output", RUNS / "table.csv", "--report", RUNS / "report.html"),
            ]
        )


if __name__ == "__main__":
    main()
