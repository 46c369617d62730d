"""Settings of all tests: programs are compiled quickly."""

import os

# Runs of milliseconds do not pay for seconds of compilation. Set here, before a test imports jax,
# and in the environment, for the processes that tests start.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
