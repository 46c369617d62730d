"""`faceshifter` commands one after another in a process of their own, parted by `then`."""

import itertools
import sys

from faceshifter_jax import cli

if __name__ == "__main__":
    commands = itertools.groupby(sys.argv[1:], lambda word: word == "then")
    for command in [list(words) for is_then, words in commands if not is_then]:
        if code := cli.main(command):
            sys.exit(code)
    import jax

    print("devices", jax.device_count(), "of them here", jax.local_device_count())
