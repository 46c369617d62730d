"""Swaps of embedded faces, whose right answer can be rendered."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from faceshifter_jax.data.seeds import attribute_seed, identity_seed
from faceshifter_jax.evaluation.metrics import (
    masked_error,
    nearer_source,
    psnr,
    retrieval_top1,
)
from faceshifter_jax.synthetic import (
    OCCLUDERS,
    render,
    render_layers,
    sample_attributes,
    sample_identity,
)

# Datasets are rendered from small seeds that users choose; people under this one are held out.
HELD_OUT_SEED = 2**40

_KINDS = tuple(kind for kind in OCCLUDERS if kind != "none")

Embed = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class GroundTruth:
    """Pairs of embedded faces with the right answers of their swaps.

    Attributes:
      gallery: (N, S, S, 3) uint8, one picture of each identity; the sources.
      source: (B,) int, rows of the gallery.
      target: (B, S, S, 3) uint8, pictures of other identities.
      answer: (B, S, S, 3) uint8, the source's identity with the target's attributes.
      occluder: (B, S, S) float32 in [0, 1], the exact cover of what is in front of the face.
    """

    gallery: np.ndarray
    source: np.ndarray
    target: np.ndarray
    answer: np.ndarray
    occluder: np.ndarray


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
    targets, answers, covers = [], [], []
    for i, who in enumerate(source):
        turn = i // num_identities
        other = (who + 1 + turn % (num_identities - 1)) % num_identities
        occluder = _KINDS[i % len(_KINDS)] if occluders else "none"
        how = attributes(other, 1 + turn, occluder)
        answer = render_layers(identities[who], how, size)
        targets.append(render(identities[other], how, size))
        answers.append(answer.image)
        covers.append(answer.occluder_mask)
    return GroundTruth(
        np.stack(gallery), source, np.stack(targets), np.stack(answers), np.stack(covers)
    )


def score(truth: GroundTruth, swaps: np.ndarray, embed: Embed) -> dict[str, float]:
    """Scores swaps beside the two lazy answers: the target and the source as they are.

    Args:
      truth: the pairs.
      swaps: (B, S, S, 3) uint8.
      embed: the judge, uint8 pictures (B, S, S, 3) to embeddings (B, E) of unit length; it
        should be another network than the one that the swaps were trained with.

    Returns:
      `swap_nearer_source`, `id_retrieval_top1`: shares in [0, 1]; `id_cosine_source` and
      `id_cosine_target`: mean cosines; `psnr_*`: mean dB over the pairs; and, so that the
      judge itself can be judged, `answer_nearer_source` and `answer_retrieval_top1`: what the
      right answers score.
    """
    gallery, target = embed(truth.gallery), embed(truth.target)
    source, swap, answer = gallery[truth.source], embed(swaps), embed(truth.answer)
    return {
        "swap_nearer_source": float(nearer_source(swap, source, target).mean()),
        "id_retrieval_top1": float(retrieval_top1(swap, gallery, truth.source).mean()),
        "id_cosine_source": float(np.sum(swap * source, -1).mean()),
        "id_cosine_target": float(np.sum(swap * target, -1).mean()),
        "psnr_swap": float(psnr(swaps, truth.answer).mean()),
        "psnr_copy_target": float(psnr(truth.target, truth.answer).mean()),
        "psnr_copy_source": float(psnr(truth.gallery[truth.source], truth.answer).mean()),
        "answer_nearer_source": float(nearer_source(answer, source, target).mean()),
        "answer_retrieval_top1": float(retrieval_top1(answer, gallery, truth.source).mean()),
    }


def score_stages(
    truth: GroundTruth, first: np.ndarray, second: np.ndarray, embed: Embed
) -> dict[str, float]:
    """Scores what HEAR-Net gives back of occluders, and what that costs of the identity.

    Args:
      truth: pairs with occluders.
      first: (B, S, S, 3) uint8, AEI-Net's swaps.
      second: (B, S, S, 3) uint8, HEAR-Net's.
      embed: the judge, see `score`.

    Returns:
      `occluder_error_aei`, `occluder_error_hear`: mean absolute error against the right answer
      inside the occluder, in grey levels of 255, a mean over the pairs; `id_cosine_aei`,
      `id_cosine_hear`: mean cosine to the source; `id_cosine_answer`: that of the right answers,
      where the occluder hides a part of the face; `occluded_psnr_*`: mean dB of the whole.
    """
    source = embed(truth.gallery)[truth.source]
    metrics = {"id_cosine_answer": float(np.sum(embed(truth.answer) * source, -1).mean())}
    for name, swaps in {"aei": first, "hear": second}.items():
        error = masked_error(swaps, truth.answer, truth.occluder)
        metrics[f"occluder_error_{name}"] = float(np.nanmean(error))
        metrics[f"id_cosine_{name}"] = float(np.sum(embed(swaps) * source, -1).mean())
        metrics[f"occluded_psnr_{name}"] = float(psnr(swaps, truth.answer).mean())
    return metrics
