"""IResNet as InsightFace's arcface_torch publishes it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.fill import keys_by_stage
from faceshifter_jax.convert.families.identity import convert_identity
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.errors import UserError

_OUTER = {
    "stem": "conv1",
    "stem_norm": "bn1",
    "stem_prelu": "prelu",
    "out_norm": "bn2",
    "embedding": "fc",
    "embedding_norm": "features",
}
_INNER = {
    "norm_1": "bn1",
    "conv_1": "conv1",
    "norm_2": "bn2",
    "prelu": "prelu",
    "conv_2": "conv2",
    "norm_3": "bn3",
    "shortcut": "downsample.0",
    "shortcut_norm": "downsample.1",
}
_LAST_SCALE = "features.weight"
_module_key = keys_by_stage(_OUTER, _INNER)


def _convert(state: StateDict) -> Converted:
    blocks = tuple(state.count(rf"layer{stage}\.(\d+)\.") for stage in range(1, 5))
    scale = _last_scale(state)
    converted = convert_identity(
        state.without(_LAST_SCALE), "arcface_torch IResNet", blocks, _module_key, variant="iresnet"
    )
    if (scale == 1).all():
        return converted
    _scale_embedding(converted.networks["identity"].variables, scale)
    note = f"{_LAST_SCALE} is not 1 everywhere as in training: multiplied into fc"
    return dataclasses.replace(converted, notes=(note,))


def _last_scale(state: StateDict) -> np.ndarray:
    embedding_size = state.shape("fc.weight", 2)[0]
    if state.shape(_LAST_SCALE, 1) != (embedding_size,):
        raise UserError(
            f"{state.path}: {_LAST_SCALE} has shape {state[_LAST_SCALE].shape}, needed is "
            f"({embedding_size},)"
        )
    return state[_LAST_SCALE].astype(np.float32)


def _scale_embedding(variables: Mapping[str, Any], scale: np.ndarray) -> None:
    """Multiplies what enters the last normalisation, which has no scale here, by `scale`.

    w (x - mean) / deviation is (w x - w mean) / deviation, whatever the sign of w.
    """
    dense = variables["params"]["embedding"]
    dense["kernel"] *= scale
    dense["bias"] *= scale
    variables["batch_stats"]["embedding_norm"]["norm"]["mean"] *= scale


FAMILY = Family(
    known="arcface_torch (InsightFace) IResNet-18, 34, 50, 100, 200: identity network",
    claims=lambda state: state.has_key_like(r"layer\d\.\d+\.prelu\.weight"),
    convert=_convert,
)
