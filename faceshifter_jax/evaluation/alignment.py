"""Whether the faces of an evaluation are aligned as its networks want them."""

import argparse
from types import ModuleType

from faceshifter_jax.data.prepared import PreparedDataset
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.model import Judge
from faceshifter_jax.evaluation.protocols.options import OF_CHECKPOINT, OF_DATASET

FLAG = "--other-alignment"


def find_alignment_of_faces(
    arguments: argparse.Namespace, protocol: ModuleType, wanted: str | None
) -> str | None:
    """Says how the faces of a protocol are aligned.

    Args:
      arguments: of the command; `data` where there is a dataset.
      protocol: one of `PROTOCOLS`.
      wanted: what the checkpoint was trained on, None where that is not known yet.

    Returns:
      a key of `faces.alignment.ALIGNMENTS`; None where that is not known.

    Raises:
      UserError: no prepared dataset.
    """
    if protocol.ALIGNMENT == OF_CHECKPOINT:
        return wanted
    if protocol.ALIGNMENT == OF_DATASET:
        return PreparedDataset(arguments.data).alignment
    return protocol.ALIGNMENT


def check_alignment(arguments: argparse.Namespace, protocol: ModuleType, wanted: str) -> list[str]:
    """Compares the alignment of a protocol's faces with what a checkpoint was trained on.

    Args:
      arguments: of the command.
      protocol: one of `PROTOCOLS`.
      wanted: the checkpoint's alignment.

    Returns:
      warnings: the faces' alignment is not known, or another one and the user knows.

    Raises:
      UserError: it is another one.
    """
    alignment = find_alignment_of_faces(arguments, protocol, wanted)
    if alignment == wanted:
        return []
    trained = f"{arguments.checkpoint} was trained on faces aligned by {wanted}"
    if alignment is None:
        # Nearly everything is aligned by that.
        return [] if wanted == "arcface" else [f"{trained}, and {_unknown(arguments)}"]
    dataset = PreparedDataset(arguments.data) if protocol.ALIGNMENT == OF_DATASET else None
    if dataset is None or dataset.is_rendered:
        if {alignment, wanted} <= {"arcface", "taotaonice"}:
            # Rendered faces are there however one fits.
            return []
        advice = "prepare photos with `faceshifter prepare PHOTOS OUT --faces detect --alignment "
        advice += f"{wanted}` and name that with --data"
    else:
        advice = f"prepare the photos again with --alignment {wanted}"
    facts = f"{trained}, these faces are aligned by {alignment}"
    return _refuse_or_warn(arguments, facts, "its swaps are worse than they should be", advice)


def check_side(checkpoint: str, side: int | None, size: int) -> list[str]:
    """Says where pictures are a little sharper than those that a generator gets at home.

    Args:
      checkpoint: its path.
      side: pixels of the squares that it was trained on; None for `size`.
      size: of the pictures here.
    """
    if side in (None, size):
        return []
    return [
        f"{checkpoint} was trained on squares that are cut from photos in {side} pixels and "
        f"resized to {size}; these pictures have {size} from the start (`faceshifter swap` cuts as "
        "at home)"
    ]


def check_judge(arguments: argparse.Namespace, judge: Judge, identity_sha256: str) -> list[str]:
    """Compares the alignment of the faces that a judge sees with what it was trained on.

    Args:
      arguments: of the command.
      judge: what judges.
      identity_sha256: hash of the checkpoint's own identity network, which saw such faces when the
        checkpoint was trained.

    Returns:
      warnings: it is another one, and the user knows.

    Raises:
      UserError: it is another one.
    """
    if not judge.mismatch or judge.sha256 == identity_sha256:
        return []
    advice = "name a judge that was trained on such faces"
    return _refuse_or_warn(
        arguments, judge.mismatch, "its cosines are lower than they should be", advice
    )


def _refuse_or_warn(
    arguments: argparse.Namespace, facts: str, consequence: str, advice: str
) -> list[str]:
    if arguments.other_alignment:
        return [f"{facts}: {consequence}"]
    raise UserError(f"{facts}: {advice}; or add {FLAG} to go on, though {consequence}")


def _unknown(arguments: argparse.Namespace) -> str:
    return (
        f"nobody said how those in {arguments.data} are aligned: `faceshifter prepare "
        "--alignment` records it"
    )
