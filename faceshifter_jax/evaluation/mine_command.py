"""`faceshifter mine`: lists the pictures of a dataset of which an AEI-Net loses most."""

import argparse
import contextlib
import logging
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.data import PreparedDataset
from faceshifter_jax.data.subset import ListedPicture, write_subset
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.mining import (
    HOW,
    Ranking,
    apply_to_pictures,
    load_heuristic_error,
    rank,
)
from faceshifter_jax.faces.region import face_weights
from faceshifter_jax.files import publish_file
from faceshifter_jax.media.grid import draw_grid
from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.messages import printable
from faceshifter_jax.networks.network import Weights

_logger = logging.getLogger(__name__)
_SHEET_PICTURES = 64
_SHEET_ROWS = 8
_SHEET_PIXELS = 112
_WHITE_GREY_LEVELS = 64.0


def run(arguments: argparse.Namespace) -> None:
    """Ranks the dataset and writes the list and the contact sheet."""
    dataset = PreparedDataset(arguments.data)
    number = _count_listed(arguments.share, dataset)
    output = Path(arguments.output)
    if output.suffix != ".json":
        raise UserError(f"{output} does not end in .json: name the list to write, as mined.json")
    sheet = output.with_suffix(".png")
    with contextlib.ExitStack() as stack:
        # The list appears last: once it is there, all is.
        list_file = stack.enter_context(publish_file(output, overwrite=arguments.overwrite))
        sheet_file = stack.enter_context(publish_file(sheet, overwrite=arguments.overwrite))
        heuristic_error, weights = load_heuristic_error(arguments.checkpoint, arguments.identity)
        _check_pictures(weights, dataset)
        ranking = rank(dataset, heuristic_error)
        worst = ranking.order[:_SHEET_PICTURES]
        errors = apply_to_pictures(heuristic_error, dataset, worst, doing="drawing the worst")
        pictures = np.stack([dataset.picture(int(index)) for index in worst])
        Image.fromarray(draw_sheet(pictures, errors)).save(sheet_file, format="PNG")
        listed = ranking.order[:number]
        _write_list(list_file, dataset, arguments.share, ranking, listed, weights)
    scores = ranking.scores[listed]
    print(
        f"listed {number} of {dataset.num_pictures} pictures, with scores from {scores[-1]:.2f} to "
        f"{scores[0]:.2f} grey levels (median of all: {np.median(ranking.scores):.2f})"
    )
    print(printable(f"wrote {output} and {sheet}"))


def _count_listed(share: float, dataset: PreparedDataset) -> int:
    if not 0 < share <= 1:
        raise UserError(f"--share must be above 0 and at most 1, got {share:g}")
    number = round(share * dataset.num_pictures)
    if number < 1:
        raise UserError(
            f"--share {share:g} of the {dataset.num_pictures} pictures in {dataset.path} lists "
            "none: choose a larger one"
        )
    return number


def _check_pictures(weights: Weights, dataset: PreparedDataset) -> None:
    size = weights.networks["generator"].image_size
    if dataset.image_size != size:
        raise UserError(
            f"{weights.path} takes pictures of {size} pixels, the dataset in {dataset.path} has "
            f"{dataset.image_size}: prepare it again with --size {size}, or choose another "
            "--checkpoint"
        )
    alignment = weights.networks["generator"].feeding.alignment
    if not dataset.is_aligned_by(alignment):
        raise UserError(
            f"{weights.path} was trained on faces aligned by {alignment}, those in {dataset.path} "
            f"are by {dataset.alignment}: prepare the photos again with --alignment {alignment}"
        )
    if dataset.alignment is None and alignment != "arcface":
        _logger.warning(
            "%s was trained on faces aligned by %s, and nobody said how those in %s are: "
            "`faceshifter prepare --alignment` records it",
            *(weights.path, alignment, dataset.path),
        )


def _write_list(
    path: Path,
    dataset: PreparedDataset,
    share: float,
    ranking: Ranking,
    listed: np.ndarray,
    weights: Weights,
) -> None:
    face = face_weights(dataset.image_size)
    facts = {
        "checkpoint": weights.directory,
        "checkpoint_sha256": weights.sha256,
        "share": share,
        "score": HOW,
        "usual_strength": round(float(np.average(ranking.usual, weights=face)), 4),
    }
    pictures = (
        ListedPicture(
            int(index), dataset.record(int(index))["name"], round(float(ranking.scores[index]), 4)
        )
        for index in listed
    )
    write_subset(path, dataset, facts, pictures)


def draw_sheet(pictures: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Draws pictures next to their errors, eight pairs below each other, the worst at top left.

    Args:
      pictures: uint8 (N, S, S, 3).
      errors: float (N, S, S, 3) in grey levels. Black is none, white 64 and more.

    Returns:
      uint8 picture (H, W, 3).
    """
    brightness = np.abs(errors).mean(-1, keepdims=True) * (255 / _WHITE_GREY_LEVELS)
    maps = np.repeat(to_uint8(brightness), 3, -1)
    pairs = np.concatenate([_resize(pictures), _resize(maps)], 2)
    missing = -len(pairs) % _SHEET_ROWS
    pairs = np.concatenate([pairs, np.full((missing, *pairs.shape[1:]), 255, np.uint8)])
    columns = {}
    for first in range(0, len(pairs), _SHEET_ROWS):
        last = min(first + _SHEET_ROWS, len(pictures))
        columns[f"{first + 1} to {last}"] = pairs[first : first + _SHEET_ROWS]
    return draw_grid(columns)


def _resize(pictures: np.ndarray) -> np.ndarray:
    size = (_SHEET_PIXELS, _SHEET_PIXELS)
    return np.stack([np.asarray(Image.fromarray(p).resize(size)) for p in pictures])
