"""`train.py` for the toy task, in a process of its own."""

import sys

from toy import FACTORIES

from faceshifter_jax.training.main import main

if __name__ == "__main__":
    # As if it were not installed: its import would take half of the run's time. What is trained in
    # the tests' own process writes its curves through it.
    sys.modules["tensorflow"] = None
    sys.exit(main(sys.argv, **FACTORIES))
