"""The smallest task with everything that a real one has, and pictures out of a seed."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from several_processes import free_port

from faceshifter_jax.data import LoaderInfo
from faceshifter_jax.networks.network import Network, Part
from faceshifter_jax.tasks.health import Health
from faceshifter_jax.tasks.task import TrainState

SIZE = 4
HERE = Path(__file__).parent


def get_config(variant=""):
    """Makes this file a config file."""
    return toy_config()


def start_two(workdir, *own, **settings) -> list[subprocess.Popen]:
    """Starts one training of the toy task in two processes with two devices each.

    `own` are settings of the one and of the other, `settings` those of both. `workdir` is one
    directory, or one for each process.
    """
    workdirs = workdir if isinstance(workdir, tuple) else (workdir, workdir)
    several = {
        "distributed.mode": "coordinator",
        "distributed.coordinator": f"127.0.0.1:{free_port()}",
        "distributed.num_processes": 2,
    }
    return [
        start_toy(
            workdirs[process],
            devices=2,
            **several,
            **settings,
            **extra,
            **{"distributed.process_id": process},
        )
        for process, extra in enumerate(own or ({}, {}))
    ]


def start_toy(workdir, *, devices=1, **settings) -> subprocess.Popen:
    """Starts `train.py` for the toy task in a process with so many devices."""
    overrides = [f"--config.{key}={value}" for key, value in settings.items()]
    command = ["run_toy.py", "--config", "toy.py", "--workdir", workdir, *overrides]
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=HERE,
        env={
            **os.environ,
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} "
            f"--xla_force_host_platform_device_count={devices}",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[1], HERE.parent))),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def toy_config(**changes) -> ConfigDict:
    config = ConfigDict(
        {
            "task": "toy",
            "seed": 1,
            "num_steps": 4,
            "batch_size": 8,
            "parallel": "jit",
            "sharding": "replicated",
            "init_from": "",
            "log_every_steps": 2,
            "save_every_steps": 2,
            "sample_every_steps": 4,
            "keep_checkpoints": 2,
            "keep_every_steps": 0,
            "image_size": SIZE,
            "compilation_cache": "",
            "distributed": {
                "mode": "off",
                "coordinator": "",
                "num_processes": 0,
                "process_id": 0,
                "timeout_seconds": 60,
            },
            "data": {"step_seconds": 0.0, "path": "", "break_at_step": -1},
            "model": {"width": 3, "levels": (1, 2)},
            "optimizer": {"learning_rate": 0.01},
            "break_at_step": -1,
            "break_gradient_at_step": -1,
            "frozen": "",
        }
    )
    config.update_from_flattened_dict(changes)
    return config


class ToyTask:
    name = "toy"
    batch_kind = "pairs"

    def __init__(self, config):
        self.config = config
        self.optimizer = optax.adam(config.optimizer.learning_rate)

    def init(self, rng):
        params = {
            "mix": jax.random.normal(rng, (3, self.config.model.width)),
            "back": jnp.ones((self.config.model.width, 3)),
        }
        return TrainState(
            step=jnp.int32(0),
            params={"generator": params},
            batch_stats={"generator": {"mean": jnp.zeros(3)}},
            opt_state={"generator": self.optimizer.init(params)},
            ema_params={"generator": params},
        )

    def make_step(self, axis_name):
        def mean(value):
            return value if axis_name is None else jax.lax.pmean(value, axis_name)

        def step(state, frozen, batch):
            source = batch["source"].astype(jnp.float32) / 127.5 - 1
            target = batch["target"].astype(jnp.float32) / 127.5 - 1
            average = mean(jnp.mean(source, (0, 1, 2)))

            def loss_of(params):
                result = jnp.tanh((source - average) @ params["mix"]) @ params["back"]
                return jnp.mean((result - target * frozen.get("scale", 1.0)) ** 2)

            params = state.params["generator"]
            loss, gradients = jax.value_and_grad(loss_of)(params)
            loss, gradients = mean(loss), mean(gradients)
            breaks = state.step + 1 == self.config.break_gradient_at_step
            gradients["mix"] = jnp.where(breaks, jnp.inf, gradients["mix"])
            updates, opt_state = self.optimizer.update(gradients, state.opt_state["generator"])
            params = optax.apply_updates(params, updates)
            ema = optax.incremental_update(params, state.ema_params["generator"], 0.1)
            stats = 0.9 * state.batch_stats["generator"]["mean"] + 0.1 * average
            loss = jnp.where(state.step + 1 == self.config.break_at_step, jnp.nan, loss)
            state = TrainState(
                step=state.step + 1,
                params={"generator": params},
                batch_stats={"generator": {"mean": stats}},
                opt_state={"generator": opt_state},
                ema_params={"generator": ema},
            )
            return state, {"loss": loss}

        return step

    def predict(self, state, frozen, batch):
        source = batch["source"].astype(jnp.float32) / 127.5 - 1
        params = state.ema_params["generator"]
        result = jnp.clip(jnp.tanh(source @ params["mix"]) @ params["back"], -1, 1)
        return {"source": source, "result": result, "black": jnp.full_like(source, -1.0)}

    def health(self):
        return Health()

    def networks(self):
        return {"generator": Part(Network("Toy", {}, {}), "generator")}

    def frozen_sources(self):
        return {"teacher": self.config.frozen} if self.config.frozen else {}

    def load_frozen(self, sources):
        return {name: weights.params for name, weights in sources.items()}


class ToyLoader:
    """Random pictures as a function of (seed, step, row)."""

    info = LoaderInfo(num_pictures=100, num_identities=10, image_size=SIZE, fingerprint="toy")

    def __init__(self, kind, settings, *, seed, batch_size, image_size, first_step=0,
                 process_index=0, process_count=1):  # fmt: skip
        self.seed, self.size, self.step = seed, image_size, first_step
        local = batch_size // process_count
        self.rows = range(process_index * local, (process_index + 1) * local)
        self.step_seconds = settings.step_seconds
        self.path, self.break_at_step = settings.path, settings.break_at_step
        self.wait_seconds = 0.0

    def __iter__(self):
        return self

    def __next__(self):
        time.sleep(self.step_seconds)
        if self.path and self.step >= self.break_at_step:
            raise OSError(errno.EIO, "Input/output error", self.path)
        self.wait_seconds += self.step_seconds
        shape = (self.size, self.size, 3)
        rows = [np.random.default_rng((self.seed, self.step, row)) for row in self.rows]
        self.step += 1
        return {
            name: np.stack([row.integers(0, 256, shape, np.uint8) for row in rows])
            for name in ("source", "target")
        }

    def close(self):
        pass


FACTORIES = {"build_task": ToyTask, "build_loader": ToyLoader}
