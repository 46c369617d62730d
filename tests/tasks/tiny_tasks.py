"""The real tasks at the smallest size that still has all their parts."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from faceshifter_jax.networks.network import Network, Weights
from faceshifter_jax.tasks import AEITask, ArcFaceTask, HEARTask, TrainState
from faceshifter_jax.tasks.task import Frozen, Task

CONFIGS = Path(__file__).parents[2] / "configs"
SIZE = 32


def read_config(name: str, variant: str = "demo") -> ConfigDict:
    spec = importlib.util.spec_from_file_location(f"config_{name}", CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def arcface_config() -> ConfigDict:
    config = read_config("arcface")
    config.image_size = SIZE
    config.model.width = 4
    config.model.embedding_size = 8
    config.model.input_size = 16
    config.model.num_classes = 5
    config.optimizer.warmup_steps = 0
    return config


def aei_config() -> ConfigDict:
    config = read_config("aei")
    config.image_size = SIZE
    # The paper's: how the demo is tuned must not matter to what is tested.
    paper = read_config("aei", "")
    config.optimizer, config.loss, config.model = paper.optimizer, paper.loss, paper.model
    config.data.answer_share, config.data.identity_views = 0.0, 0
    config.data.same_picture_share = config.data.same_identity_share = 0.2
    config.answer, config.identity.enough_cosine = paper.answer, 1.0
    config.loss.identity = 20.0
    config.identity.embedding_size = 8
    config.model.encoder_channels = (4, 6)
    config.model.generator_channels = (6, 6, 4)
    config.model.aad.num_units = 1
    config.discriminator.num_scales = 2
    config.discriminator.width = 4
    config.discriminator.num_layers = 1
    return config


def hear_config() -> ConfigDict:
    config = read_config("hear")
    config.image_size = SIZE
    config.model.channels = (4, 6)
    paper = read_config("hear", "")
    config.optimizer, config.loss = paper.optimizer, paper.loss
    config.answer, config.data.answer_share = paper.answer, paper.data.answer_share
    return config


def make_state(task: AEITask | ArcFaceTask | HEARTask, seed: int = 0) -> TrainState:
    """What `task.init` gives, without compiling its initialisers: numpy draws the parameters."""
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if len(leaf.shape) < 2:
            value = {"scale": 1.0, "slope": 0.25}.get(name, 0.0)
            return jnp.full(leaf.shape, value, leaf.dtype)
        value = random.standard_normal(leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        return jnp.asarray(value, leaf.dtype)

    params = jax.tree_util.tree_map_with_path(draw, shapes.params)
    return shapes.replace(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.full(leaf.shape, path[-1].key == "var", leaf.dtype),
            shapes.batch_stats,
        ),
        opt_state=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes.opt_state),
        ema_params={name: jax.tree.map(jnp.copy, params[name]) for name in shapes.ema_params},
    )


def networks_of(task: Task, params: dict, batch_stats: dict) -> dict[str, Network]:
    """What a checkpoint reader makes of a task's networks: role -> network."""
    return {role: part.take(params, batch_stats) for role, part in task.networks().items()}


def identity_weights(config: ConfigDict | None = None, seed: int = 5) -> Weights:
    """What a checkpoint reader returns for a training run of the identity network."""
    config = arcface_config() if config is None else config
    task = ArcFaceTask(config)
    state = make_state(task, seed=seed)
    networks = networks_of(task, state.ema_params, state.batch_stats)
    return Weights(networks, "runs/identity", "1d")


def generator_weights() -> Weights:
    """What a checkpoint reader returns for a training run of AEI-Net, without the discriminator."""
    task = AEITask(aei_config())
    state = make_state(task, seed=6)
    network = networks_of(task, state.params, state.batch_stats)["generator"]
    frozen = {"identity": {"path": "runs/identity", "sha256": "1d"}}
    return Weights({"generator": network}, "runs/aei", "ae1", frozen)


def load_two_stages(task: HEARTask) -> Frozen:
    return task.load_frozen({"identity": identity_weights(), "aei": generator_weights()})


def load_identity(task: AEITask) -> Frozen:
    return task.load_frozen({"identity": identity_weights()})


def pair_batch(batch_size: int, seed: int = 0, *, same: float = 0.5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (batch_size, SIZE, SIZE, 3)
    batch = {
        "source": random.integers(0, 256, shape, np.uint8),
        "target": random.integers(0, 256, shape, np.uint8),
        "same": (np.arange(batch_size) < same * batch_size).astype(np.float32),
    }
    batch["source"][batch["same"] == 1] = batch["target"][batch["same"] == 1]
    return batch


def identity_batch(batch_size: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(0, 256, (batch_size, SIZE, SIZE, 3), np.uint8),
        "label": random.integers(0, 5, batch_size, np.int32),
    }
