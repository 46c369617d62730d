"""IR and IR-SE networks as InsightFace_Pytorch publishes them; most FaceShifter ports use one."""

import itertools

from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.identity import convert_identity
from faceshifter_jax.convert.families.state_dict import StateDict

_OUTER = {
    "stem": "input_layer.0",
    "stem_norm": "input_layer.1",
    "stem_prelu": "input_layer.2",
    "out_norm": "output_layer.0",
    "embedding": "output_layer.3",
    "embedding_norm": "output_layer.4",
}
_INNER = {
    ("norm_1",): "res_layer.0",
    ("conv_1",): "res_layer.1",
    ("prelu",): "res_layer.2",
    ("conv_2",): "res_layer.3",
    ("norm_3",): "res_layer.4",
    ("squeeze_excitation", "reduce"): "res_layer.5.fc1",
    ("squeeze_excitation", "expand"): "res_layer.5.fc2",
    ("shortcut",): "shortcut_layer.0",
    ("shortcut_norm",): "shortcut_layer.1",
}


def _find_blocks(state: StateDict) -> tuple[int, ...]:
    """The blocks of each stage: they are numbered throughout, and a stage has one width."""
    widths = [
        state.shape(f"body.{i}.res_layer.4.weight", 1)[0]
        for i in range(state.count(r"body\.(\d+)\."))
    ]
    return tuple(len(list(blocks)) for _, blocks in itertools.groupby(widths))


def _convert(state: StateDict) -> Converted:
    blocks = _find_blocks(state)
    first = [0, *itertools.accumulate(blocks)]

    def module_key(name: str, *inner: str) -> str:
        if not inner:
            return _OUTER[name]
        _, stage, _, block = name.split("_")
        return f"body.{first[int(stage)] + int(block)}.{_INNER[inner]}"

    attentive = state.has_key_like(r"body\.\d+\.res_layer\.5\..*")
    family = "InsightFace_Pytorch IR" + ("-SE" if attentive else "")
    # Trained on pictures in OpenCV's channel order, BGR (data/data_pipe.py, Learner.py).
    return convert_identity(
        state,
        family,
        blocks,
        module_key,
        variant="ir",
        squeeze_excitation=attentive,
        channel_order="bgr",
    )


FAMILY = Family(
    known="InsightFace_Pytorch IR and IR-SE of 50, 100, 152 layers: identity network",
    claims=lambda state: state.has_key_like(r"body\.\d+\.res_layer\.\d+\..*"),
    convert=_convert,
)
