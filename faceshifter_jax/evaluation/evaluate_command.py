"""`faceshifter evaluate`: scores a checkpoint on embedded faces and draws a report."""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.ground_truth import GroundTruth, render_ground_truth, score
from faceshifter_jax.swapping.networks import build_embed, load_identity, load_swap
from faceshifter_jax.training.files import write_text
from faceshifter_jax.training.grid import write_grid

PROTOCOL = "ground-truth 1"
REPORT_ROWS = 12
_REPORT_PIXELS = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--checkpoint", required=True, help="workdir of an aei training, or a network file"
    )
    parser.add_argument(
        "--judge", required=True, help="identity network that judges: a workdir or a network file"
    )
    parser.add_argument(
        "--identity",
        help="the identity network of CHECKPOINT, if it was moved, or for a network file",
    )
    parser.add_argument("--output", help="directory for report.png and metrics.json (CHECKPOINT)")
    parser.add_argument("--pairs", type=int, default=200, help="number of swaps (200)")
    parser.add_argument("--identities", type=int, default=100, help="people among them (100)")


def run(arguments: argparse.Namespace) -> None:
    """Evaluates and prints the metrics."""
    if arguments.identities < 2 or arguments.pairs < 1:
        raise UserError("--identities must be at least 2 and --pairs at least 1")
    swap, weights = load_swap(arguments.checkpoint, arguments.identity)
    judge, judge_weights = load_identity(arguments.judge)
    identity_sha256 = weights.frozen["identity"]["sha256"]
    if judge_weights.sha256 == identity_sha256:
        print("warning: the judge is the identity network of the training; use another one")
    output = _output_directory(arguments)
    image_size = weights.networks["generator"].image_size
    truth = render_ground_truth(
        image_size,
        num_pairs=arguments.pairs,
        num_identities=arguments.identities,
    )
    swaps = swap(truth.gallery[truth.source], truth.target)
    metrics = score(truth, swaps, build_embed(judge))
    write_report(truth, swaps, output / "report.png")
    facts = {
        "protocol": PROTOCOL,
        "pairs": arguments.pairs,
        "identities": arguments.identities,
        "image_size": image_size,
        "step": weights.step,
        "checkpoint_sha256": weights.sha256,
        "identity_sha256": identity_sha256,
        "judge_sha256": judge_weights.sha256,
    }
    write_text(output / "metrics.json", json.dumps(metrics | facts, indent=2) + "\n")
    for name, value in metrics.items():
        print(f"{name:24s} {value:8.3f}")
    print(f"wrote {output / 'report.png'} and {output / 'metrics.json'}")


def _output_directory(arguments: argparse.Namespace) -> Path:
    output = Path(arguments.output or arguments.checkpoint)
    if output.is_file():
        raise UserError(f"{output} is a file: say with --output where the report goes")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}; choose --output") from error
    return output


def write_report(truth: GroundTruth, swaps: np.ndarray, path: Path) -> None:
    """Draws rows of source, target, swap and right answer, spread evenly over the pairs."""
    rows = np.linspace(0, len(swaps) - 1, min(REPORT_ROWS, len(swaps))).astype(int)
    columns = {
        "source": truth.gallery[truth.source],
        "target": truth.target,
        "swap": swaps,
        "right answer": truth.answer,
    }
    write_grid({name: _enlarge(images[rows]) for name, images in columns.items()}, path)


def _enlarge(images: np.ndarray) -> np.ndarray:
    size = max(_REPORT_PIXELS, images.shape[1])
    return np.stack(
        [
            np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.BICUBIC))
            for i in images
        ]
    )
