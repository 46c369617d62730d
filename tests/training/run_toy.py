"""`train.py` for the toy task, in a process of its own."""

import sys

from toy import FACTORIES

from faceshifter_jax.training.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv, **FACTORIES))
