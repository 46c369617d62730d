"""Checkpoints that are no networks: answers that anybody could give."""

import argparse
from collections.abc import Callable

import numpy as np

from faceshifter_jax.evaluation.model import Judge, Subject, Swaps
from faceshifter_jax.swapping.results import Explanation


def make_subject(answer: Callable[[np.ndarray, np.ndarray], np.ndarray], **changes) -> Subject:
    """Something that answers `answer(source, target)`, uint8 (B, S, S, 3) each."""

    def swap(source, target):
        pictures = answer(source, target)
        return Swaps(pictures, pictures)

    def inspect(source, target):
        return Explanation(target, np.zeros((len(source), 2, *source.shape[1:3]), np.uint8))

    return Subject(
        **{
            "swap": swap,
            "inspect": inspect,
            "has_second_stage": False,
            "image_size": 32,
            "alignment": "arcface",
            "step": 0,
            "checkpoint_sha256": "a",
            "hear_sha256": None,
            "identity_sha256": "b",
            "meta_sha256": None,
            "identity_path": "nowhere",
            "directory": "nowhere",
            **changes,
        }
    )


COPY_SOURCE = make_subject(lambda source, target: source)
COPY_TARGET = make_subject(lambda source, target: target)


def see_pixels(pictures: np.ndarray) -> np.ndarray:
    """The pixels themselves as embeddings of unit length."""
    flat = pictures.reshape(len(pictures), -1) - 127.5
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


PIXELS = Judge(see_pixels, "c", "pixels")


def arguments_of(**given) -> argparse.Namespace:
    """What the command line knows of a protocol, as `choose_protocol` expects it."""
    options = (
        *("protocol", "pairs", "identities", "data", "features", "features_range", "split"),
        *("compression", "pose", "pose_range", "expression", "expression_range"),
        *("expression_part", "poll_seconds"),
    )
    return argparse.Namespace(**(dict.fromkeys(options) | given))
