"""The rows of batches: pairs of pictures, and pictures with the number of their identity."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from faceshifter_jax.data.augment import Change, apply_change, draw_change
from faceshifter_jax.data.occlusion.cutouts import Cutouts
from faceshifter_jax.data.occlusion.cutouts_embedded import EmbeddedCutouts
from faceshifter_jax.data.occlusion.cutouts_folder import FolderCutouts
from faceshifter_jax.data.occlusion.occlude import draw_layer, lay_over, layer_alpha
from faceshifter_jax.data.order import visit
from faceshifter_jax.data.pairs import Pair, PairChooser, PictureSet, build_pair_choosers
from faceshifter_jax.data.prepared import PreparedDataset
from faceshifter_jax.data.settings import DataSettings
from faceshifter_jax.errors import UserError

Row = dict[str, Any]
"""Arrays or numpy's scalars; of a whole batch with one more axis in front."""
MakeRow = Callable[[int, np.random.Generator], Row]
"""(position in the dataset's order of visits, the row's own random generator) -> a row."""


class Part(NamedTuple):
    """One of the datasets behind a batch.

    Attributes:
        dataset: its pictures.
        targets: int64 (L,), those that can be targets.
        share: of the rows that come from it; all shares sum up to 1.
    """

    dataset: PreparedDataset
    targets: np.ndarray
    share: Fraction


def build_row_makers(
    kind: str, parts: Sequence[Part], settings: DataSettings, seed: int
) -> list[MakeRow]:
    """Builds the functions that make the rows of each dataset; all rows have the same keys.

    Args:
        kind: "pairs" for batches {"source": uint8 (B, S, S, 3), "target": uint8 (B, S, S, 3),
            "same": float32 (B,)}, where `same` is 1 for the same picture twice; "identities" for
            {"image": uint8 (B, S, S, 3), "label": int32 (B,)}, labels from 0 to num_identities - 1,
            counted across the datasets. Pictures are RGB. With
            occlusions (`occlusion_share` above 0) pairs also have "occluder": uint8 (B, S, S), the
            alpha of what was laid over the target, 255 where it hides it; the source stays
            uncovered, and `same` does not change.
            With `answer_share` above 0 pairs also have "answer": uint8 (B, S, S, 3), the right
            result of a swap of the row, and "answered": float32 (B,), 1 where it is known.
            Elsewhere the target stands in. An answer is mirrored, recoloured and covered as the
            target is. With `pseudo_share` above 0 pairs also have "pseudo": float32 (B,), 1 for
            that share of the rows of different people without an answer.
            With `identity_codes` batches of identities also have "code": float32 (B, N), the
            numbers that describe each rendered person, see `synthetic.identity_code`.
            With `identity_views` both kinds have "view_seed": uint32 (B,), see `networks.views`.
        parts: of one picture size.
        settings: the checked settings.
        seed: of the training run.

    Raises:
        UserError: the datasets do not allow such rows, or there are no cut-outs to lay over
            faces.
    """
    build = {"pairs": _pair_rows, "identities": _identity_rows}[kind]
    return build(parts, settings, seed)


def _pair_rows(parts: Sequence[Part], settings: DataSettings, seed: int) -> list[MakeRow]:
    _check_answers(parts, settings)
    sets = [
        PictureSet(
            part.dataset.identities,
            part.targets,
            float(part.share),
            part.dataset.answers,
            str(part.dataset.path),
        )
        for part in parts
    ]
    choosers = build_pair_choosers(
        sets,
        settings.same_picture_share,
        settings.same_identity_share,
        answer_share=settings.answer_share,
    )
    cutouts = _open_cutouts(settings, parts[0].dataset.image_size)
    return [
        _pair_row_maker(part, chooser, cutouts, settings, seed)
        for part, chooser in zip(parts, choosers, strict=True)
    ]


def _check_answers(parts: Sequence[Part], settings: DataSettings) -> None:
    if settings.answer_share > 0 and not any(part.dataset.answers for part in parts):
        raise UserError(
            f"data.answer_share is {settings.answer_share:g}, but there are no right answers in "
            f"{' or '.join(str(part.dataset.path) for part in parts)}: render a dataset with "
            "`faceshifter render OUT --group-size 4`, or set the share to 0"
        )


def _pair_row_maker(
    part: Part, chooser: PairChooser, cutouts: Cutouts | None, settings: DataSettings, seed: int
) -> MakeRow:
    targets = part.targets

    def make_row(position: int, rng: np.random.Generator) -> Row:
        pair = chooser.choose(int(targets[visit(seed, position, len(targets))]), rng)
        row = _make_pair(part.dataset, pair, settings, rng)
        # Drawn last, so that everything else in the row is the same with and without occlusions.
        if cutouts is not None:
            row = _cover(row, cutouts, settings.occlusion_share, rng)
        if settings.pseudo_share > 0:
            unanswered = pair.answer is None and not pair.same_identity
            pseudo = unanswered and rng.random() < settings.pseudo_share
            row = row | {"pseudo": np.float32(pseudo)}
        return row

    return make_row


def _make_pair(
    dataset: PreparedDataset, pair: Pair, settings: DataSettings, rng: np.random.Generator
) -> Row:
    """A row of pairs before anything is laid over it."""
    target = dataset.picture(pair.target)
    change = _draw_change(target, settings, rng)
    target = apply_change(target, change)
    source = target
    if not pair.same_picture:
        source = dataset.picture(pair.source)
        of_source = _draw_change(source, settings, rng)
        if pair.answer is not None:
            # A mirrored person does not look quite the same: source and answer must show the same
            # person.
            of_source = of_source._replace(mirrored=change.mirrored)
        source = apply_change(source, of_source)
    same = pair.same_picture or (pair.same_identity and settings.reconstruct_same_identity)
    row = {"source": source, "target": target, "same": np.float32(same)}
    if settings.answer_share > 0:
        answer = target
        if pair.answer is not None:
            answer = apply_change(dataset.picture(pair.answer), change)
        row |= {"answer": answer, "answered": np.float32(pair.answer is not None)}
    return row


def _cover(row: Row, cutouts: Cutouts, share: float, rng: np.random.Generator) -> Row:
    """Lays something over some targets, and over their answers in the same place."""
    if rng.random() >= share:
        return row | {"occluder": np.zeros(row["target"].shape[:2], np.uint8)}
    layer = draw_layer(row["target"], cutouts[int(rng.integers(len(cutouts)))], rng)
    covered = {name: lay_over(row[name], layer) for name in ("target", "answer") if name in row}
    return row | covered | {"occluder": layer_alpha(layer, len(row["target"]))}


def _open_cutouts(settings: DataSettings, image_size: int) -> Cutouts | None:
    if settings.occlusion_share == 0:
        return None
    if settings.occluders:
        return FolderCutouts(settings.occluders, image_size)
    return EmbeddedCutouts(image_size)


def _identity_rows(parts: Sequence[Part], settings: DataSettings, seed: int) -> list[MakeRow]:
    """The people of each dataset are numbered after those of the one before."""
    least = 2 if len(parts) == 1 else 1
    makers, first_label = [], 0
    for dataset in (part.dataset for part in parts):
        if dataset.num_identities < least:
            raise UserError(
                f"the dataset in {dataset.path} has {dataset.num_identities} known identities, "
                f"{least} are the least: prepare a folder with one sub-folder per identity"
            )
        makers.append(_identity_row_maker(dataset, first_label, settings, seed))
        first_label += dataset.num_identities
    return makers


def _identity_row_maker(
    dataset: PreparedDataset, first_label: int, settings: DataSettings, seed: int
) -> MakeRow:
    labelled = np.flatnonzero(dataset.identities >= 0)

    def make_row(position: int, rng: np.random.Generator) -> Row:
        picture = int(labelled[visit(seed, position, len(labelled))])
        image, identity = dataset.picture(picture), int(dataset.identities[picture])
        row = {
            "image": apply_change(image, _draw_change(image, settings, rng)),
            "label": np.int32(first_label + identity),
        }
        return row | {"code": dataset.identity_code(identity)} if settings.identity_codes else row

    return make_row


def _draw_change(picture: np.ndarray, settings: DataSettings, rng: np.random.Generator) -> Change:
    return draw_change(
        picture,
        rng,
        horizontal_flip=settings.horizontal_flip,
        colour_jitter=settings.colour_jitter,
    )
