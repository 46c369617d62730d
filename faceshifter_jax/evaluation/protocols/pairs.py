"""Protocol `pairs`: swaps among the pictures of any prepared dataset.

Version 2: every target gets the identity of another person's picture; the sources take turns
among the people, and the gallery of the retrieval is all of them. Each target is also swapped with
itself.
"""

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from faceshifter_jax.data import PreparedDataset
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.features import (
    apply_in_shares,
    describe_network,
    load_features,
    try_out,
)
from faceshifter_jax.evaluation.findings import (
    MOST_PAIRS,
    Breakdown,
    Findings,
    Ordered,
    Total,
    break_down,
)
from faceshifter_jax.evaluation.intervals import leave_groups_out
from faceshifter_jax.evaluation.metrics import (
    frechet_distance,
    kernel_distance,
    mean_error,
    nearer_source,
    psnr,
    retrieval,
)
from faceshifter_jax.evaluation.model import Embed, Judge, Subject
from faceshifter_jax.evaluation.presentation import (
    DECIBEL,
    DOWN,
    SHARE,
    Headline,
    Metric,
    Table,
    find_metric,
)
from faceshifter_jax.evaluation.protocols.options import OF_DATASET
from faceshifter_jax.evaluation.report.figures import (
    extreme_rows,
    inside_figure,
    judged_cosines,
    margin_rows,
)
from faceshifter_jax.runtime.distributed import together

NAME = "pairs"
VERSION = 2
ALIGNMENT = OF_DATASET
METRICS = (
    Metric("swap_nearer_source", SHARE),
    Metric("*_retrieval_top?", SHARE),
    Metric("id_cosine_target", digits=3, aim=DOWN),
    Metric("*_cosine_source", digits=3),
    Metric("reconstruction_error", digits=2, aim=DOWN),
    Metric("reconstruction_psnr", DECIBEL, 2),
    Metric("*_distance", aim=DOWN),
)
HEADLINES = (
    Headline("recognised as the source", "id_retrieval_top1"),
    Headline("nearer to the source", "swap_nearer_source"),
    Headline("reconstruction", "reconstruction_psnr"),
    Headline("Fréchet distance", "frechet_distance"),
)
TABLES = (
    Table(
        "Identity",
        "By the judge. Retrieval: the nearest of all sources' pictures shows the right person.",
        ("swap", "copy of the target", "copy of the source"),
        (
            (
                "source retrieved, top 1",
                ("id_retrieval_top1", "copy_target_retrieval_top1", "copy_source_retrieval_top1"),
            ),
            ("source retrieved, top 5", ("id_retrieval_top5", None, None)),
            ("nearer to the source than to the target", ("swap_nearer_source", None, None)),
            ("cosine to the source", ("id_cosine_source", "copy_target_cosine_source", None)),
            ("cosine to the target", ("id_cosine_target", None, None)),
        ),
    ),
    Table(
        "Pictures swapped with themselves",
        "How far they are from what they were.",
        ("swap",),
        (
            ("mean absolute error, grey levels", ("reconstruction_error",)),
            ("PSNR", ("reconstruction_psnr",)),
        ),
    ),
    Table(
        "Real and swapped pictures as sets",
        "Distances between the targets and their swaps in the features' space; smaller is better, "
        "and comparable only with the same number of pairs and the same features.",
        ("swap",),
        (
            ("Fréchet distance (FID with InceptionV3)", ("frechet_distance",)),
            ("kernel distance (KID with InceptionV3)", ("kernel_distance",)),
        ),
    ),
)

_SEED = 0
_TERCILES = ("least alike third", "middle third", "most alike third")


@dataclass(frozen=True)
class Data:
    """Pictures to swap.

    Attributes:
      gallery: uint8 (N, S, S, 3), the sources' pictures, each once.
      people: int (N,), who is in them.
      source: int (B,), rows of the gallery.
      target: uint8 (B, S, S, 3).
      names: what the B targets are called.
      attributes: attribute -> the B targets' bins, of embedded faces.
      facts: what the data are.
      features: pictures to features (B, D); None for the judge's embeddings.
    """

    gallery: np.ndarray
    people: np.ndarray
    source: np.ndarray
    target: np.ndarray
    names: tuple[str, ...]
    attributes: dict[str, Ordered]
    facts: dict[str, str | int | float]
    features: Callable[[np.ndarray], np.ndarray] | None


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises UserError without a dataset, or for impossible numbers."""
    if not arguments.data:
        raise UserError("the protocol pairs needs --data: name a prepared dataset")
    if not 4 <= arguments.pairs <= MOST_PAIRS:
        raise UserError(
            f"--pairs must be at least 4, as distances between sets need some, and at most "
            f"{MOST_PAIRS}"
        )


@together()
def prepare(arguments: argparse.Namespace, image_size: int) -> Data:
    """Chooses and reads the pictures; all processes.

    Raises:
      UserError: no prepared dataset, pictures of another size, too few people, or no features.
    """
    dataset = PreparedDataset(arguments.data)
    if dataset.image_size != image_size:
        raise UserError(
            f"the checkpoint takes pictures of {image_size} pixels, the dataset in "
            f"{dataset.path} has {dataset.image_size}: prepare it again with --size {image_size}"
        )
    features = arguments.features and load_features(arguments.features, arguments.features_range)
    if features:
        try_out(features)
    people = known_or_alone(dataset.identities)
    sources, targets = choose_pairs(people, arguments.pairs, str(dataset.path))
    gallery, rows = np.unique(sources, return_inverse=True)
    pictures, target = (
        np.stack([dataset.picture(int(i)) for i in chosen]) for chosen in (gallery, targets)
    )
    digest = hashlib.sha256(people[gallery].tobytes() + rows.astype(np.int64).tobytes())
    digest.update(pictures.data)
    digest.update(target.data)
    return Data(
        gallery=pictures,
        people=people[gallery],
        source=rows,
        target=target,
        names=tuple(dataset.record(int(i))["name"] for i in targets),
        attributes=_attributes(dataset, targets),
        facts={
            "pairs": len(targets),
            "gallery": len(gallery),
            "identities": len(np.unique(people[gallery])),
            "chance_top1": float((people[sources][:, None] == people[gallery]).mean()),
            "data": str(dataset.path),
            "data_sha256": digest.hexdigest(),
            "features": arguments.features or "the judge's embeddings",
            **describe_network("features", arguments.features, range=arguments.features_range),
        },
        features=features or None,
    )


def known_or_alone(identities: np.ndarray) -> np.ndarray:
    """Numbers each picture of an unknown person (-1) as its own person: int64 (N,) to the same."""
    people = np.asarray(identities, np.int64).copy()
    unknown = people < 0
    people[unknown] = people.max(initial=-1) + 1 + np.arange(unknown.sum())
    return people


def choose_pairs(people: np.ndarray, number: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Chooses targets at random, each once, and for each a source of somebody else.

    The sources' people take turns, so that the gallery has as many of them as there can be.

    Args:
      people: int64 (N,), who is in each picture.
      number: of pairs; fewer where there are fewer pictures.
      name: what to call the pictures in the error.

    Returns:
      indices of sources and targets, int64 (B,) each, always the same.

    Raises:
      UserError: fewer than four pictures or two people.
    """
    everybody = np.unique(people)
    if len(people) < 4 or len(everybody) < 2:
        raise UserError(
            f"{name} has {len(people)} pictures of {len(everybody)} people: pairs need at least "
            "four pictures and two people"
        )
    random = np.random.default_rng(_SEED)
    targets = random.permutation(len(people))[:number]
    turns = random.permutation(everybody)
    used = np.zeros(len(turns))
    sources = []
    for target in targets:
        # The person who was a source least often, but never the target's own.
        turn = np.argmin(np.where(turns == people[target], np.inf, used))
        used[turn] += 1
        sources.append(random.choice(np.flatnonzero(people == turns[turn])))
    return np.array(sources), targets


def evaluate(data: Data, subject: Subject, judge: Judge) -> Findings:
    """Swaps all pairs and scores them."""
    source = data.gallery[data.source]
    swaps = subject.swap(source, data.target).last
    itself = subject.swap(data.target, data.target).last
    values = score(data, swaps, itself, judge.embed)
    features = partial(apply_in_shares, data.features) if data.features else judge.embed
    columns = {"source": source, "target": data.target, "swap": swaps}
    figures = margin_rows(columns, values)
    figures += extreme_rows(
        {"target": data.target, "with itself": itself},
        values["reconstruction_error"],
        "error",
        "By the mean absolute error, grey levels.",
        title="Swapped with themselves",
    )
    inside = inside_figure(subject, source, data.target, swaps)
    return Findings(
        values=values,
        totals=set_distances(features(data.target), features(swaps)),
        figures=[*figures, inside],
        samples=[columns, inside.columns],
        facts=data.facts,
        breakdowns=_breakdowns(data, values),
        distributions={
            **judged_cosines(values),
            "error of pictures swapped with themselves, grey levels": {
                "swap": values["reconstruction_error"]
            },
        },
    )


def score(data: Data, swaps: np.ndarray, itself: np.ndarray, embed: Embed) -> dict[str, np.ndarray]:
    """Scores swaps next to the lazy answers.

    Args:
      data: the pairs.
      swaps: (B, S, S, 3) uint8.
      itself: (B, S, S, 3) uint8, the targets swapped with themselves.
      embed: the judge.

    Returns:
      (B,) float64 each: `id_retrieval_top1`, `id_retrieval_top5`, `copy_*_retrieval_top1`,
      `swap_nearer_source`: 0 or 1; `id_cosine_source`, `id_cosine_target`,
      `copy_target_cosine_source`; `reconstruction_error` in grey levels, `reconstruction_psnr`
      in dB.
    """
    gallery, target, swap = embed(data.gallery), embed(data.target), embed(swaps)
    source = gallery[data.source]
    right = data.people[data.source][:, None] == data.people
    values = {
        "id_retrieval_top1": retrieval(swap, gallery, right),
        "id_retrieval_top5": retrieval(swap, gallery, right, 5),
        "swap_nearer_source": nearer_source(swap, source, target),
        "id_cosine_source": np.sum(swap * source, -1),
        "id_cosine_target": np.sum(swap * target, -1),
        "copy_target_retrieval_top1": retrieval(target, gallery, right),
        "copy_source_retrieval_top1": retrieval(source, gallery, right),
        "copy_target_cosine_source": np.sum(target * source, -1),
        "reconstruction_error": mean_error(itself, data.target),
        "reconstruction_psnr": psnr(itself, data.target),
    }
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def set_distances(real: np.ndarray, swapped: np.ndarray) -> dict[str, Total]:
    """Fréchet and kernel distance of features (B, D) each; row i of both is of the same pair."""
    distances = {
        "frechet_distance": frechet_distance,
        "kernel_distance": partial(kernel_distance, paired=True),
    }

    def of(distance: Callable[..., float], rows: np.ndarray) -> float:
        return distance(real[rows], swapped[rows])

    everything = np.arange(len(real))
    return {
        name: Total(of(distance, everything), leave_groups_out(partial(of, distance), len(real)))
        for name, distance in distances.items()
    }


def _attributes(dataset: PreparedDataset, targets: np.ndarray) -> dict[str, Ordered]:
    if "occluder_share" not in dataset.metadata:
        return {}
    # Not at the top: the renderer compiles itself, and photographs do not need it.
    from faceshifter_jax.evaluation.protocols.attributes import attribute_bins

    return attribute_bins([dataset.scene(int(index))[1] for index in targets])


def _breakdowns(data: Data, values: dict[str, np.ndarray]) -> list[Breakdown]:
    likeness = values["copy_target_cosine_source"]
    order = np.argsort(np.argsort(likeness, kind="stable"), kind="stable")
    thirds = [_TERCILES[3 * int(place) // len(order)] for place in order]
    likeness_bins = Ordered(thirds, _TERCILES)
    attributes = {"likeness of source and target, by the judge": likeness_bins} | data.attributes
    return [
        break_down(
            attribute,
            metric,
            bins,
            {"swap": values[name]},
            share=find_metric(name, METRICS).is_share,
        )
        for attribute, bins in attributes.items()
        for metric, name in (
            ("share of sources retrieved", "id_retrieval_top1"),
            ("error of pictures swapped with themselves, grey levels", "reconstruction_error"),
        )
    ]
