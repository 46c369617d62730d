"""Settings of all tests: programs are compiled quickly."""

import importlib.metadata
import os

# Runs of milliseconds do not pay for seconds of compilation: without these, a step of the smallest
# AEI-Net takes five times as long to compile. Set before any test imports jax, and in the
# environment, for the processes that tests start; those add their own flags to XLA_FLAGS.
QUICKLY = "--xla_cpu_parallel_codegen_split_count=1"
# XLA ends a process for a flag that it does not know, as this one since jaxlib 0.12.
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):
    QUICKLY = f"--xla_cpu_use_fusion_emitters=false {QUICKLY}"

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if QUICKLY not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICKLY}".strip()
