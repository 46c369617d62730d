"""`python -m faceshifter_jax` is the command `faceshifter`."""

import sys

from faceshifter_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
