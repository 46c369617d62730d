"""Trains a network: `python train.py --config configs/aei.py --workdir runs/aei`.

Kept short on purpose: flags are read in faceshifter_jax/training/main.py, the loop is in
faceshifter_jax/training/train.py.
"""

import sys

from faceshifter_jax.training.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
