"""Makes ten steps of a tiny task on all devices and writes what came out.

TASK MODE FILE, MODE being jit, pmap or zero, and for one process of two COORDINATOR PROCESS.
"""

import sys

import jax
import numpy as np
from tiny_tasks import (
    aei_config,
    arcface_config,
    hear_config,
    identity_batch,
    load_identity,
    load_two_stages,
    make_state,
    pair_batch,
)

from faceshifter_jax.runtime.distributed import initialize
from faceshifter_jax.runtime.parallel import build_parallel, state_bytes
from faceshifter_jax.tasks import AEITask, ArcFaceTask, HEARTask

STEPS, BATCH = 10, 8


def make_task(name: str):
    """The task, its frozen networks and its batches."""
    # Of the same pairs, one device has two, one has one and two have none.
    pairs = [share_unevenly(pair_batch(BATCH, i)) for i in range(STEPS)]
    if name.startswith("aei"):
        config = aei_config()
        if name == "aei in micro-batches":
            config.batch_size, config.accumulate_steps, config.remat = BATCH, 2, "aad"
            # Statistics of four rows let rounding grow twentyfold a step, from 1e-7 on.
            pairs = pairs[:4]
        if name == "aei with answers":
            config.data.answer_share, config.data.pseudo_share = 0.5, 0.5
            config.data.identity_views = 2
            config.loss.answer, config.loss.perceptual = 10.0, 1.0
            pairs = [with_answers(pair, i) for i, pair in enumerate(pairs)]
        task = AEITask(config)
        return task, load_identity(task), pairs
    if name == "hear":
        config = hear_config()
        config.data.answer_share, config.loss.answer = 0.5, 10.0
        pairs = [with_answers(pair, i) for i, pair in enumerate(pairs)]
        task = HEARTask(config)
        return task, load_two_stages(task), pairs
    task = ArcFaceTask(arcface_config())
    return task, {}, [identity_batch(BATCH, i) for i in range(STEPS)]


def share_unevenly(batch):
    batch["same"] = np.array([1, 1, 1, 0, 0, 0, 0, 0], np.float32)
    return batch


def with_answers(batch, seed):
    """Of the rows with an answer, one device has two, one has one and two have none."""
    random = np.random.default_rng(seed)
    return {
        **batch,
        "answer": random.integers(0, 256, batch["target"].shape, np.uint8),
        "answered": np.array([0, 0, 0, 0, 1, 1, 0, 0], np.float32),
        "pseudo": np.array([0, 0, 0, 0, 0, 0, 0, 1], np.float32),
        "view_seed": random.integers(0, 2**32, BATCH, np.uint32),
    }


def own_rows(batch):
    """This process's rows of a global batch."""
    own = np.split(np.arange(BATCH), jax.process_count())[jax.process_index()]
    return {name: rows[own] for name, rows in batch.items()}


def run(name: str, mode: str) -> dict[str, np.ndarray]:
    parallel = build_parallel("jit", sharding="zero") if mode == "zero" else build_parallel(mode)
    task, frozen, batches = make_task(name)
    batches = [parallel.put_batch(own_rows(batch)) for batch in batches]
    step = parallel.compile_step(task.make_step(parallel.axis_name))
    state = parallel.compile_to_state(lambda state: state)(parallel.replicate(make_state(task)))
    frozen = parallel.replicate(frozen)
    step = step.lower(state, frozen, batches[0]).compile()
    if mode == "zero":
        held, whole = state_bytes(parallel, state)
        assert held < 0.9 * whole
        assert sum(leaf.addressable_data(0).nbytes for leaf in jax.tree.leaves(state)) == held
    results = {}
    for number, batch in enumerate(batches):
        state, metrics = step(state, frozen, batch)
        jax.block_until_ready(metrics)
        results |= {f"metric {number} {key}": value for key, value in metrics.items()}
    state = jax.jit(lambda state: state, out_shardings=parallel.replicated)(state)
    for part in ("params", "ema_params", "batch_stats", "opt_state"):
        for path, leaf in jax.tree_util.tree_leaves_with_path(getattr(state, part)):
            results[f"{part}{jax.tree_util.keystr(path)}"] = leaf
    return {key: np.asarray(value) for key, value in results.items()}


if __name__ == "__main__":
    task_name, mode_name, path, *several = sys.argv[1:]
    if several:
        initialize(
            {
                "mode": "coordinator",
                "coordinator": several[0],
                "num_processes": 2,
                "process_id": int(several[1]),
                "timeout_seconds": 120,
            }
        )
    np.savez(path, devices=jax.device_count(), **run(task_name, mode_name))
