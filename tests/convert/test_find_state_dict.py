"""Which dict of a checkpoint holds the weights."""

import numpy as np
import pytest

from faceshifter_jax.convert.find_state_dict import find_state_dict
from faceshifter_jax.convert.torch_pickle import Storage, Tensor, UnusableTensor

STORAGE = Storage("0", np.dtype(np.float32), 6)
W, V = (Tensor(STORAGE, 0, (6,), (1,)) for _ in range(2))
SCALAR = Tensor(STORAGE, 0, (), ())
ADAM = {"state": {0: {"exp_avg": W}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a.w": W, "n": SCALAR}, {"a.w": W, "n": SCALAR}),
        ({"state_dict": {"w": W}, "epoch": 3}, {"w": W}),
        ({"net": {"w": W}, "epoch": 3, "step": SCALAR}, {"w": W}),
        ({"state_dict": {"model": {"module.w": W}}}, {"w": W}),
        ({"state_dict": {"w": W}, "model": {"w": V}, "ema": {"w": V}}, {"w": W}),
        ({"state_dict": {}, "model": {"w": V}}, {"w": V}),
        ({"state_dict_backbone": {"w": W}, "state_dict_softmax_fc": {"w": V}}, {"w": W}),
        ({"G": {"w": W}, "D": {"w": V}}, {"G.w": W, "D.w": V}),
        ({"G": {"module.w": W}, "D": {"module.w": V}, "it": SCALAR}, {"G.w": W, "D.w": V}),
        ({"G": {"w": W}, "mean": V}, {"mean": V, "G.w": W}),
        ({"params": {"conv": {"w": W, "b": V}, "fc": {"w": W}}}, ["conv.w", "conv.b", "fc.w"]),
        ({"module.a": W, "module.b": V}, {"a": W, "b": V}),
        ({"module.a": W, "b": V}, {"module.a": W, "b": V}),
        ({"_orig_mod.module.a": W}, {"a": W}),
        ({"module._orig_mod.a": W}, {"a": W}),
        ({"generator": {"w": W}, "optimizer": ADAM, "optimizer_G": ADAM}, {"w": W}),
        ({"generator": {"w": W}, "opt": ADAM, "optim": {"m": {"w": V}}}, {"w": W}),
        ({"optimizer_states": [ADAM], "w": W}, {"w": W}),
        ({"model": ADAM}, {}),
        (ADAM, {}),
        ({0: {"w": W}, 1: W}, {}),
        ([W], {}),
        (W, {}),
        (None, {}),
    ],
)
def test_weights_are_found_in_what_is_around_them(value, expected):
    found = find_state_dict(value)
    assert list(found) == list(expected)
    if isinstance(expected, dict):
        assert all(found[key] is expected[key] for key in expected)


def test_a_dict_that_holds_itself():
    value = {"net": {"w": W}}
    value["self"] = value["net"]["again"] = value
    assert find_state_dict(value) == {"w": W}


def test_tensors_of_no_use_count_as_weights():
    sparse = UnusableTensor("sparse")
    assert find_state_dict({"net": {"module.w": sparse}, "step": SCALAR}) == {"w": sparse}
