"""`faceshifter evaluate`: scores a checkpoint on embedded faces and draws a report."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.ground_truth import render_ground_truth, score, score_stages
from faceshifter_jax.evaluation.report import write_report
from faceshifter_jax.files import write_text
from faceshifter_jax.swapping.networks import Stages, build_embed, load_identity, load_stages
from faceshifter_jax.training.grid import to_uint8

PROTOCOL = "ground-truth 3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="workdir of an aei or hear training, or a network file",
    )
    parser.add_argument(
        "--judge", required=True, help="identity network that judges: a workdir or a network file"
    )
    parser.add_argument(
        "--identity",
        help="the identity network of CHECKPOINT, if it was moved, or for a network file",
    )
    parser.add_argument("--hear", help="HEAR-Net as second stage: a workdir or a network file")
    parser.add_argument("--output", help="directory for report.png and metrics.json (CHECKPOINT)")
    parser.add_argument("--pairs", type=int, default=200, help="number of swaps (200)")
    parser.add_argument("--identities", type=int, default=100, help="people among them (100)")


def run(arguments: argparse.Namespace) -> None:
    """Evaluates and prints the metrics."""
    if arguments.identities < 2 or arguments.pairs < 1:
        raise UserError("--identities must be at least 2 and --pairs at least 1")
    stages = load_stages(arguments.checkpoint, arguments.identity, arguments.hear)
    judge, judge_weights = load_identity(arguments.judge)
    identity_sha256 = stages.generator.frozen["identity"]["sha256"]
    if judge_weights.sha256 == identity_sha256:
        print("warning: the judge is the identity network of the training; use another one")
    output = _output_directory(arguments)
    counts = {"num_pairs": arguments.pairs, "num_identities": arguments.identities}
    metrics, report = _evaluate(stages, build_embed(judge), counts)
    write_report(report, output / "report.png")
    facts = {
        "protocol": PROTOCOL,
        "pairs": arguments.pairs,
        "identities": arguments.identities,
        "image_size": stages.image_size,
        "step": (stages.hear or stages.generator).step,
        "checkpoint_sha256": stages.generator.sha256,
        "hear_sha256": stages.hear.sha256 if stages.hear else None,
        "identity_sha256": identity_sha256,
        "judge_sha256": judge_weights.sha256,
    }
    write_text(output / "metrics.json", json.dumps(metrics | facts, indent=2) + "\n")
    for name, value in metrics.items():
        print(f"{name:24s} {value:8.3f}")
    print(f"wrote {output / 'report.png'} and {output / 'metrics.json'}")


def _evaluate(
    stages: Stages, embed: Any, counts: dict[str, int]
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Returns the metrics, and the columns of each part of the report."""
    truth = render_ground_truth(stages.image_size, **counts)
    swaps = stages.swap(truth.gallery[truth.source], truth.target)
    metrics = score(truth, swaps, embed)
    clean, masks = {"swap": swaps}, _mask_columns(stages, truth, swaps)
    if stages.hear is None:
        return metrics, [_columns(truth, clean), masks]
    occluded = render_ground_truth(stages.image_size, **counts, occluders=True)
    pictures = stages.run(occluded.gallery[occluded.source], occluded.target)
    first, second = to_uint8(pictures[:, 0]), to_uint8(pictures[:, 2])
    metrics |= score_stages(occluded, first, second, embed)
    both = {"AEI-Net": first, "error": to_uint8(pictures[:, 1]), "HEAR-Net": second}
    return metrics, [_columns(occluded, both), _columns(truth, clean), masks]


def _mask_columns(stages: Stages, truth: Any, swaps: np.ndarray) -> dict[str, np.ndarray]:
    """The swaps with the masks M of each level (bright: identity), coarse to fine."""
    source = truth.gallery[truth.source]
    masks = np.round(255 * stages.masks(source, truth.target)).astype(np.uint8)
    levels = {f"mask {k + 1}": masks[:, k, :, :, None].repeat(3, -1) for k in range(masks.shape[1])}
    return {"source": source, "target": truth.target, "swap": swaps, **levels}


def _columns(truth: Any, swaps: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": truth.gallery[truth.source],
        "target": truth.target,
        **swaps,
        "right answer": truth.answer,
    }


def _output_directory(arguments: argparse.Namespace) -> Path:
    output = Path(arguments.output or arguments.checkpoint)
    if output.is_file():
        raise UserError(f"{output} is a file: say with --output where the report goes")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}; choose --output") from error
    return output
