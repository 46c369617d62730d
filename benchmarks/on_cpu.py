"""Imported before jax, which reads it then: the benchmarks compare on the CPU, as torch's build.

They do not use a cache, for which programs are compiled differently (`runtime.compilation`).

Not for `tpu.py`, which prepares more than that.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
