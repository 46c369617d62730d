"""The evaluated and the judging networks, as functions of pictures over all devices."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from faceshifter_jax.checkpoints.reading import DIRECTORY, read_meta
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.evaluation.devices import build_row_function
from faceshifter_jax.media.levels import to_uint8
from faceshifter_jax.networks.contract import REGIONS, have_one_template
from faceshifter_jax.networks.identity import IdentityNetwork, identity_network_from
from faceshifter_jax.networks.network import check_finite
from faceshifter_jax.networks.pixels import to_unit_range
from faceshifter_jax.swapping.results import Explanation
from faceshifter_jax.swapping.stage_functions import (
    Networks,
    draw_masks,
    find_errors,
    run_stages,
)
from faceshifter_jax.swapping.stages import load_stages

_USELESS = "are not finite numbers: use other weights"

Embed = Callable[[np.ndarray], np.ndarray]
"""uint8 pictures (B, S, S, 3) to embeddings (B, E) of unit length."""


class Swaps(NamedTuple):
    """Swaps of B pairs, uint8 (B, S, S, 3) each.

    Attributes:
      first: AEI-Net's.
      last: those of the last stage: HEAR-Net's, or AEI-Net's where there is no second stage.
    """

    first: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class Judge:
    """The judging identity network.

    Attributes:
      embed: see `Embed`.
      sha256: hash of its weights.
      path: where they were read.
      alignment: of the faces that it sees, None where that is not known.
      mismatch: says that it was trained on faces aligned otherwise; "" where it was not.
    """

    embed: Embed
    sha256: str
    path: str
    alignment: str | None = None
    mismatch: str = ""


@dataclass(frozen=True)
class Subject:
    """A checkpoint that is evaluated.

    Attributes:
      swap: `swap(source, target)`: two uint8 (B, S, S, 3) to `Swaps`.
      inspect: `inspect(source, target)`: the same to `Explanation`.
      has_second_stage: whether there is a HEAR-Net.
      image_size: S in pixels.
      alignment: of the faces that it was trained on, a key of `faces.alignment.ALIGNMENTS`.
      step: updates behind what is evaluated: the AEI-Net, or the HEAR-Net where the path of one
        was given; 0 for converted weights.
      checkpoint_sha256, hear_sha256, identity_sha256: hashes of the weights.
      meta_sha256: hash of the checkpoint's `meta`, None for a network file.
      identity_path: where the training run's identity network was read.
      directory: the checkpoint or file that was read.
      side: pixels of the squares that are cut from photos for it, where those are resized; None
        where they are cut in its size, as the pictures of evaluations always are.
    """

    swap: Callable[[np.ndarray, np.ndarray], Swaps]
    inspect: Callable[[np.ndarray, np.ndarray], Explanation]
    has_second_stage: bool
    image_size: int
    alignment: str
    step: int
    checkpoint_sha256: str
    hear_sha256: str | None
    identity_sha256: str
    meta_sha256: str | None
    identity_path: str
    directory: str
    side: int | None = None

    @property
    def workdir(self) -> Path | None:
        """The training's directory, None for a network file."""
        checkpoint = Path(self.directory)
        return checkpoint.parents[1] if checkpoint.parent.name == DIRECTORY else None


def load_subject(path: str, identity_path: str | None, hear_path: str | None) -> Subject:
    """Reads what swaps faces; arguments as in `load_stages`.

    Raises:
      UserError: not such networks, no identity network, or another one than in training.
    """
    stages = load_stages(path, identity_path, hear_path)
    # `path` names what is evaluated; a second stage given with it applies to any of its steps.
    named = stages.generator if hear_path else stages.hear or stages.generator
    return Subject(
        swap=build_row_function(_swap, stages.networks, lambda s: _to_swaps(s, path)),
        inspect=build_row_function(_inspect, stages.networks, _to_pictures),
        has_second_stage=stages.hear is not None,
        image_size=stages.image_size,
        alignment=stages.contract.alignment,
        step=named.step,
        checkpoint_sha256=stages.generator.sha256,
        hear_sha256=stages.hear.sha256 if stages.hear else None,
        identity_sha256=stages.generator.frozen["identity"]["sha256"],
        meta_sha256=hash_meta(Path(named.directory)),
        identity_path=stages.generator.frozen["identity"]["path"],
        directory=named.directory,
        side=None if stages.square_size == stages.image_size else stages.square_size,
    )


def hash_meta(checkpoint: Path) -> str | None:
    """Identifies a checkpoint without reading its arrays; None for a network file.

    Raises:
      DamagedCheckpoint: it is not what was saved.
      UserError: see `checkpoints.reading.read_meta`.
    """
    if checkpoint.parent.name != DIRECTORY:
        return None
    meta = read_meta(checkpoint)
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def load_judge(path: str, alignment: str | None = "arcface") -> Judge:
    """Reads the judging identity network from a training run's workdir or a network file.

    Args:
      path: where it is.
      alignment: of the faces that it will see, of whose squares it gets the usual part where that
        is not what it was trained on; None where nobody knows.

    Raises:
      UserError: there is none.
    """
    weights = read_weights(path)
    network = identity_network_from(weights).folded()
    view = network.input.view
    if alignment not in (None, network.input.alignment):
        view = dataclasses.replace(view, region=REGIONS[alignment])
    mismatch = ""
    if alignment is not None and not have_one_template(alignment, network.input.alignment):
        mismatch = (
            f"{path} was trained on faces aligned by {network.input.alignment}, and sees {view} of "
            f"faces aligned by {alignment}"
        )
    network = jax.tree.map(jnp.asarray, dataclasses.replace(network, view=view))
    check = partial(check_finite, complaint=f"the embeddings by {path} {_USELESS}")
    embed = build_row_function(_embed, network, check)
    return Judge(embed, weights.sha256, weights.directory, alignment, mismatch)


def _embed(network: IdentityNetwork, pictures: jax.Array) -> jax.Array:
    return network.embed(to_unit_range(pictures))


def _swap(networks: Networks, source: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    stages = run_stages(networks, source, target)
    return stages[:, 0], stages[:, -1]


def _to_swaps(stages: tuple[np.ndarray, np.ndarray], path: str) -> Swaps:
    complaint = f"the swaps by {path} {_USELESS}"
    return Swaps(*(to_uint8(check_finite(stage, complaint), -1, 1) for stage in stages))


def _inspect(
    networks: Networks, source: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return find_errors(networks, target), draw_masks(networks, source, target)


def _to_pictures(found: tuple[np.ndarray, np.ndarray]) -> Explanation:
    errors, masks = found
    return Explanation(to_uint8(errors, -1, 1), to_uint8(masks, 0, 1))
