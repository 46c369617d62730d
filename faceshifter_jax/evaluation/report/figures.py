"""Choosing the pictures of an evaluation to show."""

from collections.abc import Mapping

import numpy as np

from faceshifter_jax.evaluation.findings import Figure
from faceshifter_jax.evaluation.model import Subject

_ROWS = 4
_INSIDE_ROWS = 8


def extreme_rows(
    columns: Mapping[str, np.ndarray],
    errors: np.ndarray,
    what: str,
    caption: str,
    *,
    title: str = "Swaps",
    smaller_is_better: bool = True,
) -> list[Figure]:
    """The best, the median and the worst pairs, a figure each; pairs without an error are left out.

    Args:
      columns: title -> uint8 pictures (B, S, S, 3), a row a pair.
      errors: (B,), what the pairs are sorted by.
      what: the text next to each row, before its number.
      caption: says how they are sorted.
      title: begins the figures' titles.
      smaller_is_better: whether the smallest are the best.
    """
    known = np.flatnonzero(np.isfinite(errors))
    order = known[np.argsort(errors[known], kind="stable")]
    order = order if smaller_is_better else order[::-1]
    count = min(_ROWS, len(order))
    first = max(0, (len(order) - count) // 2)
    chosen = {
        "the best": order[:count],
        "around the median": order[first : first + count],
        "the worst": order[::-1][:count],
    }
    return [
        Figure(
            f"{title}: {name}",
            caption,
            {column: pictures[rows] for column, pictures in columns.items()},
            [f"{what} {errors[row]:.3g}" for row in rows],
        )
        for name, rows in chosen.items()
    ]


def margin_rows(
    columns: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
) -> list[Figure]:
    """`extreme_rows` of swaps, by how much nearer to the source than to the target they are."""
    margin = values["id_cosine_source"] - values["id_cosine_target"]
    caption = "By the margin, the cosine to the source less that to the target."
    return extreme_rows(columns, margin, "margin", caption, smaller_is_better=False)


def judged_cosines(values: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The distributions of swaps' cosines, as `Findings.distributions` takes them."""
    return {
        "cosine of the swap, by the judge": {
            "to the source": values["id_cosine_source"],
            "to the target": values["id_cosine_target"],
        }
    }


def inside_figure(
    subject: Subject, source: np.ndarray, target: np.ndarray, swaps: np.ndarray
) -> Figure:
    """Masks of every level and heuristic errors of pairs spread evenly over all of them.

    Args:
      subject: whose.
      source, target, swaps: uint8 (B, S, S, 3).
    """
    rows = np.unique(np.linspace(0, len(source) - 1, _INSIDE_ROWS).astype(int))
    insides = subject.inspect(source[rows], target[rows])
    masks = {
        f"mask {level + 1}": insides.masks[:, level, :, :, None].repeat(3, -1)
        for level in range(insides.masks.shape[1])
    }
    return Figure(
        "Masks and heuristic errors",
        "AEI-Net's masks from coarse to fine (bright: the identity rules, dark: the attributes), "
        "and what it loses of the target when that gets its own identity (grey: nothing).",
        {
            "source": source[rows],
            "target": target[rows],
            "AEI-Net": swaps[rows],
            "error": insides.errors,
            **masks,
        },
    )
