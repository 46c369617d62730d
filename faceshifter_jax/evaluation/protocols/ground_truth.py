"""Protocol `ground-truth`: swaps of embedded faces, whose right answer can be rendered.

Version 6: 200 pairs of 100 people that no dataset holds, and as many with something in front of
the target's face.
"""

import argparse
import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.findings import MOST_PAIRS, Breakdown, Figure, Findings, break_down
from faceshifter_jax.evaluation.model import Judge, Subject, Swaps
from faceshifter_jax.evaluation.presentation import (
    DECIBEL,
    DOWN,
    SHARE,
    TO_ONE,
    TO_THE_RIGHT_ANSWER,
    Headline,
    Metric,
    Table,
)
from faceshifter_jax.evaluation.protocols.attributes import LIGHT, OCCLUDER, YAW, attribute_bins
from faceshifter_jax.evaluation.protocols.rendered_pairs import (
    HELD_OUT_SEED,
    KINDS,
    GroundTruth,
    render_ground_truth,
)
from faceshifter_jax.evaluation.protocols.scores import (
    score,
    score_detail,
    score_occluded,
    score_second_sources,
)
from faceshifter_jax.evaluation.report.figures import extreme_rows, inside_figure, judged_cosines

NAME = "ground-truth"
VERSION = 6
ALIGNMENT = "arcface"
METRICS = (
    Metric("*_nearer_source", SHARE),
    Metric("*_retrieval_top?", SHARE),
    Metric("*psnr_*", DECIBEL, 2),
    Metric("*ssim_*"),
    Metric("*ms_distance_*", aim=DOWN),
    Metric("id_cosine_target", digits=3, aim=DOWN),
    Metric("*cosine_*", digits=3),
    Metric("occluder_error_*", digits=2, aim=DOWN),
    Metric("identity_change_*", digits=2, aim=TO_THE_RIGHT_ANSWER),
    Metric("*_index*", aim=TO_ONE),
)
HEADLINES = (
    Headline("gain over copying the target, in the face", "face_psnr_gain"),
    Headline("the same where the two people differ", "differ_psnr_gain"),
    Headline("specks in the face (1: none)", "speck_index"),
    Headline("recognised as the source", "id_retrieval_top1"),
)
CEILINGS = {
    "swap_nearer_source": "answer_nearer_source",
    "id_retrieval_top1": "answer_retrieval_top1",
    "id_cosine_source": "answer_cosine_copy_source",
    "id_cosine_aei": "id_cosine_answer",
    "id_cosine_hear": "id_cosine_answer",
}
"""Metric of swaps by the judge -> that of right answers: more than that only pleases the judge."""
_ANSWERS = ("swap", "right answer", "copy of the target", "copy of the source")


def _row(label: str, metric: str) -> tuple[str, tuple[str | None, ...]]:
    return label, tuple(
        metric.replace("*", answer) if answer else None
        for answer in ("swap", None, "copy_target", "copy_source")
    )


TABLES = (
    Table(
        "What the swaps are worth",
        "Right answers are rendered: the source's face in the target's picture. Copying the target "
        "is what anybody can do: what gains nothing over it has not paid for itself. By the judge "
        "alone a swap is no better than a right answer: what lies above it pleases the judge.",
        _ANSWERS,
        (
            (
                "nearer to the right answer than the copy, in the face",
                ("face_psnr_gain", None, 0.0, None),
            ),
            ("the same where the two people differ", ("differ_psnr_gain", None, 0.0, None)),
            (
                "another source changes the face by, grey levels",
                ("identity_change_swap", "identity_change_answer", 0.0, None),
            ),
            ("specks in the face", ("speck_index", 1.0, 1.0, None)),
            (
                "specks and patterns at fixed places",
                ("speck_index_fixed", 1.0, "speck_index_fixed_copy_target", None),
            ),
            (
                "fine detail in the face (below 1: blurred)",
                ("detail_index", 1.0, "detail_index_copy_target", None),
            ),
            (
                "judge: cosine to the right answer; of the source's picture, that of two pictures "
                "of one person",
                (
                    "answer_cosine_swap",
                    1.0,
                    "answer_cosine_copy_target",
                    "answer_cosine_copy_source",
                ),
            ),
            (
                "judge: source recognised, top 1",
                ("id_retrieval_top1", "answer_retrieval_top1", "copy_target_retrieval_top1", None),
            ),
        ),
    ),
    Table(
        "Identity",
        "By the judge, which errs too: see what it says of the right answers. Retrieval: the "
        "nearest of all people's pictures is the source's.",
        _ANSWERS,
        (
            (
                "nearer to the source than to the target",
                ("swap_nearer_source", "answer_nearer_source", None, None),
            ),
            (
                "source retrieved, top 1",
                (
                    "id_retrieval_top1",
                    "answer_retrieval_top1",
                    "copy_target_retrieval_top1",
                    "copy_source_retrieval_top1",
                ),
            ),
            ("source retrieved, top 5", ("id_retrieval_top5", None, None, None)),
            ("cosine to the source", ("id_cosine_source", "answer_cosine_copy_source", None, None)),
            ("cosine to the target", ("id_cosine_target", None, None, None)),
        ),
    ),
    Table(
        "Distance to the right answer",
        "The lazy answers share much with the right one: a swap that is no nearer than the copy "
        "of the target has not paid for itself.",
        _ANSWERS,
        (
            _row("PSNR", "psnr_*"),
            _row("SSIM", "ssim_*"),
            _row("1 - MS-SSIM", "ms_distance_*"),
            _row("PSNR in the face", "face_psnr_*"),
            (
                "PSNR where the two people differ",
                ("differ_psnr_swap", None, "differ_psnr_copy_target", None),
            ),
            _row("SSIM in the face", "face_ssim_*"),
            _row("1 - MS-SSIM in the face", "face_ms_distance_*"),
        ),
    ),
    Table(
        "Something in front of the face",
        "Against the right answer, inside the exact mask of what is there, and the whole.",
        ("AEI-Net", "HEAR-Net", "right answer"),
        (
            ("error inside, grey levels", ("occluder_error_aei", "occluder_error_hear", None)),
            ("PSNR inside", ("occluder_psnr_aei", "occluder_psnr_hear", None)),
            ("SSIM inside", ("occluder_ssim_aei", "occluder_ssim_hear", None)),
            (
                "1 - MS-SSIM inside",
                ("occluder_ms_distance_aei", "occluder_ms_distance_hear", None),
            ),
            ("PSNR of the whole", ("occluded_psnr_aei", "occluded_psnr_hear", None)),
            ("cosine to the source", ("id_cosine_aei", "id_cosine_hear", "id_cosine_answer")),
        ),
    ),
)


@dataclass(frozen=True)
class Data:
    """Data rendered once: pairs without and with something in front of the face."""

    clean: GroundTruth
    occluded: GroundTruth

    @cached_property
    def facts(self) -> dict[str, str | int]:
        """Facts about the rendered data."""
        hashes = self.clean.sha256() + self.occluded.sha256()
        return {
            "pairs": len(self.clean.source),
            "identities": len(self.clean.gallery),
            "data": f"embedded faces, seed {HELD_OUT_SEED}",
            "data_sha256": hashlib.sha256(hashes.encode()).hexdigest(),
        }


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises UserError for numbers out of range."""
    if not (2 <= arguments.identities <= MOST_PAIRS and 1 <= arguments.pairs <= MOST_PAIRS):
        raise UserError(
            f"--identities must be at least 2 and --pairs at least 1, both at most {MOST_PAIRS}"
        )


def prepare(arguments: argparse.Namespace, image_size: int) -> Data:
    """Renders the pairs; `arguments` has `pairs` and `identities`."""
    counts = {"num_pairs": arguments.pairs, "num_identities": arguments.identities}
    clean = render_ground_truth(image_size, **counts)
    return Data(clean, render_ground_truth(image_size, **counts, occluders=True))


def evaluate(data: Data, subject: Subject, judge: Judge) -> Findings:
    """Swaps all pairs and scores them."""
    clean, occluded = data.clean, data.occluded
    swaps = subject.swap(clean.sources(), clean.target).last
    stages = subject.swap(occluded.sources(), occluded.target)
    if not subject.has_second_stage:
        stages = Swaps(stages.first, stages.first)
    second = subject.swap(clean.gallery[clean.second_source], clean.target).last
    values = score(clean, swaps, judge.embed) | score_second_sources(clean, swaps, second)
    hidden = score_occluded(occluded, stages, judge.embed)
    figures, samples = _pictures(data, subject, swaps, stages, values, hidden)
    return Findings(
        values=values | hidden,
        figures=figures,
        samples=samples,
        facts=data.facts,
        totals=score_detail(clean, swaps),
        ceilings=CEILINGS,
        breakdowns=_breakdowns(data, values, hidden),
        distributions=_distributions(values, hidden),
    )


def _breakdowns(
    data: Data, values: dict[str, np.ndarray], hidden: dict[str, np.ndarray]
) -> list[Breakdown]:
    bins = attribute_bins(data.clean.attributes)
    answers = {"swap": "swap", "copy of the target": "copy_target"}
    distance = {title: values[f"face_ms_distance_{name}"] for title, name in answers.items()}
    nearer = {"swap": values["swap_nearer_source"], "right answer": values["answer_nearer_source"]}
    of_swaps = {
        "distance to the right answer in the face, 1 - MS-SSIM": distance,
        "share nearer to the source": nearer,
    }
    found = [
        break_down(attribute, metric, bins[attribute], series, share=series is nearer)
        for attribute in (YAW, LIGHT)
        for metric, series in of_swaps.items()
    ]
    kinds = attribute_bins(data.occluded.attributes)[OCCLUDER]
    metric = "error inside the occluder, grey levels"
    return [*found, break_down(OCCLUDER, metric, kinds, _by_stage("occluder_error", hidden))]


def _by_stage(metric: str, hidden: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    stages = {"AEI-Net": f"{metric}_aei", "HEAR-Net": f"{metric}_hear"}
    return {title: hidden[name] for title, name in stages.items() if name in hidden}


def _distributions(
    values: dict[str, np.ndarray], hidden: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    return {
        **judged_cosines(values),
        "nearness to the right answer, PSNR in dB": {
            "swap": values["psnr_swap"],
            "copy of the target": values["psnr_copy_target"],
        },
        "distance to the right answer in the face, 1 - MS-SSIM": {
            "swap": values["face_ms_distance_swap"],
            "copy of the target": values["face_ms_distance_copy_target"],
        },
        "error inside the occluder, grey levels": _by_stage("occluder_error", hidden),
    }


def _pictures(
    data: Data,
    subject: Subject,
    swaps: np.ndarray,
    stages: Swaps,
    values: dict[str, np.ndarray],
    hidden: dict[str, np.ndarray],
) -> tuple[list[Figure], list[dict[str, np.ndarray]]]:
    """The figures of the report, and the pictures of all pairs to draw samples from."""
    clean, occluded = data.clean, data.occluded
    both = {"AEI-Net": stages.first}
    if subject.has_second_stage:
        both["HEAR-Net"] = stages.last
    of_clean = _columns(clean, {"swap": swaps})
    of_occluded = _columns(occluded, both)
    caption = "By the distance to the right answer inside the face, 1 - MS-SSIM."
    figures = extreme_rows(of_clean, values["face_ms_distance_swap"], "distance", caption)
    figures += extreme_rows(
        of_occluded,
        hidden["occluder_error_hear" if subject.has_second_stage else "occluder_error_aei"],
        "error",
        "By the error inside what is in front of the face, grey levels.",
        title="Something in front of the face",
    )
    inside = inside_figure(subject, occluded.sources(), occluded.target, stages.first)
    each_kind = {
        name: images[_one_of_each_kind(len(images))] for name, images in of_occluded.items()
    }
    samples = [each_kind, of_clean] if subject.has_second_stage else [of_clean]
    return [*figures, inside], [*samples, dict(inside.columns)]


def _one_of_each_kind(num_pairs: int) -> np.ndarray:
    """Rows of the occluded pairs, drawn, always the same ones: every kind of occluder is shown."""
    turns = -(-num_pairs // len(KINDS))
    rows = np.random.default_rng(0).integers(turns, size=len(KINDS)) * len(KINDS)
    rows += np.arange(len(KINDS))
    return rows[rows < num_pairs]


def _columns(truth: GroundTruth, swaps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {"source": truth.sources(), "target": truth.target}
    return {**given, **swaps, "right answer": truth.answer}
