"""The number of operations of a program, regardless of its lowering."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import jax

from faceshifter_jax.models import cpu_lowering, layers


def plain_operations(function: Callable, *arguments: Any) -> float:
    """Operations of `function(*arguments)` as XLA counts them before it optimises.

    Convolutions are counted as XLA's own, upsampling as the sums of neighbours that it is: as the
    product with a matrix that accelerators take it would be operations that no CPU makes.

    Args:
      function: made of the networks of `faceshifter_jax.models`, traced for a CPU.
      *arguments: arrays or their shapes.
    """
    plain = {
        "convolve": cpu_lowering.plain_conv,
        "up_convolve": partial(jax.lax.conv_transpose, strides=(2, 2), padding="SAME"),
    }
    # A new function, because JAX caches traces by the function.
    program = jax.jit(lambda *given: function(*given))
    with mock.patch.multiple(layers, **plain):
        return program.lower(*arguments).cost_analysis()["flops"]
