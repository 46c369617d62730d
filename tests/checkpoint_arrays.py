"""The checkpoint of a training run, array by array."""

from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util


def read_state(workdir) -> dict[str, np.ndarray]:
    """Returns everything in the newest checkpoint, dotted key -> array."""
    newest = max((Path(workdir) / "checkpoints").iterdir(), key=lambda path: int(path.name))
    handler = ocp.PyTreeCheckpointHandler()
    as_numpy = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), handler.metadata(newest / "state").tree
    )
    tree = handler.restore(newest / "state", args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    return traverse_util.flatten_dict(tree, sep=".")
