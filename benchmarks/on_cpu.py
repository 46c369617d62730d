"""Imported before jax, which reads it then: the benchmarks compare on the CPU, as torch's build.

Not for `tpu.py`, which prepares more than that.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
