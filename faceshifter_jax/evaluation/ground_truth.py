"""Protocol `ground-truth`: swaps of embedded faces, whose right answer can be rendered.

Version 4: 200 pairs of 100 people that no dataset holds, and as many with something in front of
the target's face.
"""

import argparse
import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from faceshifter_jax.data.seeds import attribute_seed, identity_seed
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.attributes import LIGHT, OCCLUDER, YAW, attribute_bins
from faceshifter_jax.evaluation.figures import extreme_rows, inside_figure
from faceshifter_jax.evaluation.metrics import (
    mean_error,
    nearer_source,
    psnr,
    retrieval,
    structural_similarity,
)
from faceshifter_jax.evaluation.presentation import Headline, Table
from faceshifter_jax.evaluation.results import Breakdown, Figure, Findings, break_down
from faceshifter_jax.evaluation.subject import Embed, Judge, Subject, Swaps
from faceshifter_jax.synthetic import (
    OCCLUDERS,
    Attributes,
    render,
    render_layers,
    sample_attributes,
    sample_identity,
)

NAME = "ground-truth"
VERSION = 4
DEFAULT_PAIRS = 200

# Datasets are rendered from small seeds that users choose; people under this one are held out.
HELD_OUT_SEED = 2**40

_KINDS = tuple(kind for kind in OCCLUDERS if kind != "none")
HEADLINES = (
    Headline("nearer to the source", "swap_nearer_source"),
    Headline("recognised as the source", "id_retrieval_top1"),
    Headline("PSNR to the right answer", "psnr_swap"),
    Headline("1 - MS-SSIM in the face", "face_ms_distance_swap"),
)
_ANSWERS = ("swap", "right answer", "copy of the target", "copy of the source")


def _row(label: str, metric: str) -> tuple[str, tuple[str | None, ...]]:
    return label, tuple(
        metric.replace("*", answer) if answer else None
        for answer in ("swap", None, "copy_target", "copy_source")
    )


TABLES = (
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
            ("cosine to the source", ("id_cosine_source", None, None, None)),
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
class GroundTruth:
    """Pairs of embedded faces with the right answers of their swaps.

    Attributes:
      gallery: (N, S, S, 3) uint8, one picture of each identity; the sources.
      source: (B,) int, rows of the gallery.
      target: (B, S, S, 3) uint8, pictures of other identities.
      answer: (B, S, S, 3) uint8, the source's identity with the target's attributes.
      face: (B, S, S) float32 in [0, 1], where the answer shows skin of head and neck.
      occluder: (B, S, S) float32 in [0, 1], the exact cover of what is in front of the face.
      attributes: those of each target and answer.
    """

    gallery: np.ndarray
    source: np.ndarray
    target: np.ndarray
    answer: np.ndarray
    face: np.ndarray
    occluder: np.ndarray
    attributes: tuple[Attributes, ...]

    def sources(self) -> np.ndarray:
        """The source's picture of each pair, uint8 (B, S, S, 3)."""
        return self.gallery[self.source]

    def sha256(self) -> str:
        """Hash of the pairs and their pictures."""
        digest = hashlib.sha256()
        for array in (self.gallery, self.source.astype(np.int64), self.target, self.answer):
            digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def render_ground_truth(
    size: int,
    *,
    num_pairs: int = 200,
    num_identities: int = 100,
    seed: int = HELD_OUT_SEED,
    occluders: bool = False,
) -> GroundTruth:
    """Renders pairs of identities that no dataset holds.

    Pair i swaps identity i mod N, in the picture of the gallery, into a picture of another
    identity; over the pairs all identities are sources and targets equally often. The gallery
    has no occluders.

    Args:
      size: pixels a side.
      num_pairs: the number of pairs.
      num_identities: the number of identities N, at least 2.
      seed: another seed, other people.
      occluders: put something in front of every target's face, the kinds in turn.
    """
    identities = [sample_identity(identity_seed(seed, i)) for i in range(num_identities)]

    def attributes(identity: int, picture: int, occluder: str):
        return sample_attributes(attribute_seed(seed, identity, picture), occluder=occluder)

    gallery = [render(who, attributes(i, 0, "none"), size) for i, who in enumerate(identities)]
    source = np.arange(num_pairs) % num_identities
    targets, answers, scenes = [], [], []
    for i, who in enumerate(source):
        turn = i // num_identities
        other = (who + 1 + turn % (num_identities - 1)) % num_identities
        occluder = _KINDS[i % len(_KINDS)] if occluders else "none"
        how = attributes(other, 1 + turn, occluder)
        answers.append(render_layers(identities[who], how, size))
        targets.append(render(identities[other], how, size))
        scenes.append(how)
    return GroundTruth(
        gallery=np.stack(gallery),
        source=source,
        target=np.stack(targets),
        answer=np.stack([answer.image for answer in answers]),
        face=np.stack([answer.face_mask for answer in answers]),
        occluder=np.stack([answer.occluder_mask for answer in answers]),
        attributes=tuple(scenes),
    )


def score(truth: GroundTruth, swaps: np.ndarray, embed: Embed) -> dict[str, np.ndarray]:
    """Scores swaps beside the two lazy answers: the target and the source as they are.

    Args:
      truth: the pairs.
      swaps: (B, S, S, 3) uint8.
      embed: the judge, uint8 pictures (B, S, S, 3) to embeddings (B, E) of unit length; it
        should be another network than the one that the swaps were trained with.

    Returns:
      (B,) float64 each, one a pair: `swap_nearer_source`, `id_retrieval_top1` and `_top5`: 0 or 1;
      `id_cosine_source` and `id_cosine_target`: cosines; for each of `swap`, `copy_target` and
      `copy_source`: `psnr_*` in dB, `ssim_*` and `ms_distance_*` (1 - MS-SSIM) of the whole
      picture, and the same with `face_` inside the face; `copy_*_retrieval_top1`; and, so that
      the judge itself can be judged, `answer_nearer_source` and `answer_retrieval_top1`: what the
      right answers score.
    """
    answers = {"swap": swaps, "copy_target": truth.target, "copy_source": truth.sources()}
    gallery, answer = embed(truth.gallery), embed(truth.answer)
    embedded = {name: embed(pictures) for name, pictures in answers.items()}
    swap, source, target = embedded["swap"], gallery[truth.source], embedded["copy_target"]
    right = truth.source[:, None] == np.arange(len(gallery))
    values = {
        "swap_nearer_source": nearer_source(swap, source, target),
        "id_retrieval_top1": retrieval(swap, gallery, right),
        "id_retrieval_top5": retrieval(swap, gallery, right, 5),
        "id_cosine_source": np.sum(swap * source, -1),
        "id_cosine_target": np.sum(swap * target, -1),
    }
    for name, pictures in answers.items():
        values[f"psnr_{name}"] = psnr(pictures, truth.answer)
    for name, pictures in answers.items():
        values |= _similarities(name, pictures, truth)
    for name in ("copy_target", "copy_source"):
        values[f"{name}_retrieval_top1"] = retrieval(embedded[name], gallery, right)
    values["answer_nearer_source"] = nearer_source(answer, source, target)
    values["answer_retrieval_top1"] = retrieval(answer, gallery, right)
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def _similarities(name: str, pictures: np.ndarray, truth: GroundTruth) -> dict[str, np.ndarray]:
    values = {}
    values[f"ssim_{name}"], values[f"ms_distance_{name}"] = structural_similarity(
        pictures, truth.answer
    )
    values[f"face_psnr_{name}"] = psnr(pictures, truth.answer, truth.face)
    values[f"face_ssim_{name}"], values[f"face_ms_distance_{name}"] = structural_similarity(
        pictures, truth.answer, truth.face
    )
    return values


def score_occluded(truth: GroundTruth, swaps: Swaps, embed: Embed) -> dict[str, np.ndarray]:
    """Scores what each stage keeps of occluders, and what that costs of the identity.

    Args:
      truth: pairs with occluders.
      swaps: those of the two stages; where `first` is `last`, of AEI-Net alone.
      embed: the judge, see `score`.

    Returns:
      (B,) float64 each, for `*` = `aei` and, with a second stage, `hear`: `occluder_error_*`: mean
      absolute error against the right answer inside the occluder, in grey levels of 255;
      `occluder_psnr_*`, `occluder_ssim_*`, `occluder_ms_distance_*`: likewise inside it;
      `id_cosine_*`: cosine to the source; `occluded_psnr_*`: dB of the whole. `id_cosine_answer`:
      the right answers' cosine, where the occluder hides a part of the face. `occluder_error_swap`
      and `occluder_id_cosine_swap`: those of the last stage, to compare one stage with two.
    """
    source = embed(truth.gallery)[truth.source]
    values = {"id_cosine_answer": np.sum(embed(truth.answer) * source, -1)}
    stages = {"aei": swaps.first} | ({} if swaps.first is swaps.last else {"hear": swaps.last})
    for name, pictures in stages.items():
        inside = truth.answer, truth.occluder
        values[f"occluder_error_{name}"] = mean_error(pictures, *inside)
        values[f"id_cosine_{name}"] = np.sum(embed(pictures) * source, -1)
        values[f"occluded_psnr_{name}"] = psnr(pictures, truth.answer)
        values[f"occluder_psnr_{name}"] = psnr(pictures, *inside)
        similar = structural_similarity(pictures, *inside)
        values[f"occluder_ssim_{name}"], values[f"occluder_ms_distance_{name}"] = similar
    last = list(stages)[-1]
    values["occluder_error_swap"] = values[f"occluder_error_{last}"]
    values["occluder_id_cosine_swap"] = values[f"id_cosine_{last}"]
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


@dataclass(frozen=True)
class Data:
    """What the protocol renders once: pairs without and with something before the face."""

    clean: GroundTruth
    occluded: GroundTruth

    @cached_property
    def facts(self) -> dict[str, str | int]:
        """What was rendered."""
        hashes = self.clean.sha256() + self.occluded.sha256()
        return {
            "pairs": len(self.clean.source),
            "identities": len(self.clean.gallery),
            "data": f"embedded faces, seed {HELD_OUT_SEED}",
            "data_sha256": hashlib.sha256(hashes.encode()).hexdigest(),
        }


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises UserError for numbers that make no evaluation."""
    if arguments.identities < 2 or arguments.pairs < 1:
        raise UserError("--identities must be at least 2 and --pairs at least 1")


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
    values = score(clean, swaps, judge.embed)
    hidden = score_occluded(occluded, stages, judge.embed)
    figures, samples = _pictures(data, subject, swaps, stages, values, hidden)
    return Findings(
        values=values | hidden,
        figures=figures,
        samples=samples,
        facts=data.facts,
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
        break_down(attribute, metric, bins[attribute], series)
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
        "cosine of the swap, by the judge": {
            "to the source": values["id_cosine_source"],
            "to the target": values["id_cosine_target"],
        },
        "distance to the right answer, dB": {
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
    turns = -(-num_pairs // len(_KINDS))
    rows = np.random.default_rng(0).integers(turns, size=len(_KINDS)) * len(_KINDS)
    rows += np.arange(len(_KINDS))
    return rows[rows < num_pairs]


def _columns(truth: GroundTruth, swaps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {"source": truth.sources(), "target": truth.target}
    return {**given, **swaps, "right answer": truth.answer}
