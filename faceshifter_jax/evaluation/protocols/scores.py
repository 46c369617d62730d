"""Swaps and lazy answers scored against right answers, pair by pair.

All processes must score together: each compares its share of the pictures.
"""

from collections.abc import Mapping

import numpy as np

from faceshifter_jax.evaluation.findings import Total
from faceshifter_jax.evaluation.fine_detail import (
    detail_energy,
    dot_energy,
    fixed_place_ratio,
    inner_faces,
    ratio_of_sums,
)
from faceshifter_jax.evaluation.metrics import (
    mean_error,
    nearer_source,
    psnr,
    retrieval,
    structural_similarity,
)
from faceshifter_jax.evaluation.model import Embed, Swaps
from faceshifter_jax.evaluation.processes import in_shares
from faceshifter_jax.evaluation.protocols.rendered_pairs import GroundTruth

_APART = 16
"""Grey levels, the mean over the colours: where people differ."""


def score(truth: GroundTruth, swaps: np.ndarray, embed: Embed) -> dict[str, np.ndarray]:
    """Scores swaps next to the two lazy answers: the target and the source as they are.

    Args:
      truth: the pairs.
      swaps: (B, S, S, 3) uint8.
      embed: the judge, uint8 pictures (B, S, S, 3) to embeddings (B, E) of unit length; it
        should be another network than the one that the swaps were trained with.

    Returns:
      (B,) float64 each, one a pair: `swap_nearer_source`, `id_retrieval_top1` and `_top5`: 0 or 1;
      `id_cosine_source` and `id_cosine_target`: cosines; for each of `swap`, `copy_target` and
      `copy_source`: `psnr_*` in dB, `ssim_*` and `ms_distance_*` (1 - MS-SSIM) of the whole
      picture, and the same with `face_` inside the face; `answer_cosine_*`: cosine to the right
      answer; `copy_*_retrieval_top1`; and, so that the judge itself can be judged,
      `answer_nearer_source` and `answer_retrieval_top1`: what the right answers score.
      `differ_psnr_*` of swap and target: dB where right answer and target differ by more than
      16 grey levels. `face_psnr_gain` and `differ_psnr_gain`: how many dB the swap is nearer to
      the right answer than the target is.
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
        values[f"answer_cosine_{name}"] = np.sum(embedded[name] * answer, -1)
    values |= _gains(values, swaps, truth)
    for name in ("copy_target", "copy_source"):
        values[f"{name}_retrieval_top1"] = retrieval(embedded[name], gallery, right)
    values["answer_nearer_source"] = nearer_source(answer, source, target)
    values["answer_retrieval_top1"] = retrieval(answer, gallery, right)
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def score_second_sources(
    truth: GroundTruth, swaps: np.ndarray, second_swaps: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores how much another source changes the picture.

    Args:
      truth: pairs with second answers.
      swaps: (B, S, S, 3) uint8, with the sources.
      second_swaps: the same with the second sources.

    Returns:
      `identity_change_swap`, (B,) float64: mean absolute difference of the two swaps of a target
      inside the face, grey levels of 255; `identity_change_answer`: that of the right answers.
    """
    return {
        "identity_change_swap": mean_error(second_swaps, swaps, truth.face),
        "identity_change_answer": mean_error(truth.second_answer, truth.answer, truth.face),
    }


def score_detail(truth: GroundTruth, swaps: np.ndarray) -> dict[str, Total]:
    """Scores fine detail and specks inside the faces, over all swaps.

    Args:
      truth: the pairs.
      swaps: (B, S, S, 3) uint8.

    Returns:
      Each by that of the right answers, so that 1 is right, and NaN where no face is large enough:
      `detail_index`: energy of fine detail; below 1 where swaps are blurred, above it where they
      are noisy. `speck_index`: 1 and the energy of dots that stand where neither right answer nor
      target has any. `speck_index_fixed`: energy of what is at the same place of all swaps.
      `detail_index_copy_target` and `speck_index_fixed_copy_target`: those of the targets.
    """

    def measure(rows: np.ndarray) -> dict[str, np.ndarray]:
        inside = inner_faces(truth.face[rows], truth.target_face[rows])
        given = swaps[rows], truth.answer[rows], truth.target[rows]
        detail = dict(zip(("swap", "answer", "target"), given, strict=True))
        energies = {name: detail_energy(pictures, inside) for name, pictures in detail.items()}
        dots = dot_energy(*given, inside)
        return {**energies, "stray": dots.stray, "dots": dots.answer, "inside": inside}

    found = in_shares(measure, len(swaps))
    inside = found["inside"]
    return {
        "detail_index": ratio_of_sums(found["swap"], found["answer"]),
        "detail_index_copy_target": ratio_of_sums(found["target"], found["answer"]),
        "speck_index": ratio_of_sums(found["stray"], found["dots"], plus=1),
        "speck_index_fixed": fixed_place_ratio(swaps, truth.answer, inside),
        "speck_index_fixed_copy_target": fixed_place_ratio(truth.target, truth.answer, inside),
    }


def _gains(
    values: Mapping[str, np.ndarray], swaps: np.ndarray, truth: GroundTruth
) -> dict[str, np.ndarray]:
    apart = np.abs(truth.answer.astype(np.int16) - truth.target).mean(-1) > _APART
    swap, copy = (psnr(pictures, truth.answer, apart) for pictures in (swaps, truth.target))
    return {
        "differ_psnr_swap": swap,
        "differ_psnr_copy_target": copy,
        "face_psnr_gain": values["face_psnr_swap"] - values["face_psnr_copy_target"],
        "differ_psnr_gain": swap - copy,
    }


def _similarities(name: str, pictures: np.ndarray, truth: GroundTruth) -> dict[str, np.ndarray]:
    values = {}
    values[f"ssim_{name}"], values[f"ms_distance_{name}"] = _similarity(pictures, truth.answer)
    values[f"face_psnr_{name}"] = psnr(pictures, truth.answer, truth.face)
    values[f"face_ssim_{name}"], values[f"face_ms_distance_{name}"] = _similarity(
        pictures, truth.answer, truth.face
    )
    return values


def _similarity(
    pictures: np.ndarray, answers: np.ndarray, masks: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`structural_similarity`, which takes longer than all else, in shares."""

    def compare(rows: np.ndarray) -> dict[str, np.ndarray]:
        inside = None if masks is None else masks[rows]
        ssim, distance = structural_similarity(pictures[rows], answers[rows], inside)
        return {"ssim": ssim, "distance": distance}

    found = in_shares(compare, len(pictures))
    return found["ssim"], found["distance"]


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
        similar = _similarity(pictures, *inside)
        values[f"occluder_ssim_{name}"], values[f"occluder_ms_distance_{name}"] = similar
    last = list(stages)[-1]
    values["occluder_error_swap"] = values[f"occluder_error_{last}"]
    values["occluder_id_cosine_swap"] = values[f"id_cosine_{last}"]
    return {name: np.asarray(value, np.float64) for name, value in values.items()}
