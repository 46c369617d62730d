"""`faceshifter evaluate` in a process of its own, which says how many devices it has."""

import sys

import jax

from faceshifter_jax import cli

if __name__ == "__main__":
    print("devices", jax.device_count())
    sys.exit(cli.main(sys.argv[1:]))
