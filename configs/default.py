"""What the configs of all tasks share; the file of a task overrides it and adds its own."""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

Config = Any
"""A ConfigDict, which knows its attributes only when it runs."""


def shared_config() -> Config:
    config: Config = ConfigDict()
    config.seed = 0
    config.parallel = "jit"  # or "pmap"
    config.sharding = "replicated"  # or, under jit, "zero": the state divided over the devices
    config.compute_dtype = "float32"  # or "bfloat16"
    config.accumulate_steps = 1  # micro-batches of a step: less memory, a little more time
    config.log_every_steps = 100
    config.save_every_steps = 5_000
    config.sample_every_steps = 1_000
    config.keep_checkpoints = 3
    config.keep_every_steps = 50_000  # 0: only the newest are kept
    config.init_from = ""  # trained networks to begin with, separated by commas
    config.profile_steps = 0  # traced from the eleventh step on, into the workdir's profile/
    config.wandb = ""  # project of Weights & Biases that also gets the curves and pictures
    config.image_size = 256
    config.ema_decay = 0.999  # 0: the weights as they are
    config.compilation_cache = ""  # directory that keeps compiled programs from run to run

    config.distributed = ConfigDict()
    config.distributed.mode = "off"  # "automatic" (TPU pod, Slurm, Open MPI) or "coordinator"
    config.distributed.coordinator = ""  # host:port of process 0
    config.distributed.num_processes = 0
    config.distributed.process_id = 0
    config.distributed.timeout_seconds = 300  # to wait for the other processes

    config.data = ConfigDict()
    config.data.path = ""
    config.data.alignment = "arcface"  # of its faces, as `faceshifter prepare` has it
    config.data.horizontal_flip = False
    config.data.colour_jitter = 0.0
    config.data.num_threads = 16
    config.data.prefetch_batches = 16  # batches in the making bound the threads at work
    config.data.cache_megabytes = 256.0  # decoded pictures stay in memory if all fit
    return config


def shared_optimizer() -> Config:
    optimizer: Config = ConfigDict()
    optimizer.name = "adam"  # or "sgd"
    optimizer.learning_rate = 4e-4
    optimizer.schedule = "constant"  # or "cosine"
    optimizer.warmup_steps = 0
    optimizer.b1 = 0.0
    optimizer.b2 = 0.999  # of adam alone
    optimizer.weight_decay = 0.0
    return optimizer


def shrink(config: Config) -> None:
    """What all `:demo` variants share: the dataset of `make demo`, and few, small pictures."""
    config.batch_size = 8
    config.log_every_steps = 50
    config.keep_every_steps = 0
    config.image_size = 64
    config.ema_decay = 0.99
    config.data.path = "runs/demo/data/train"
    config.data.num_threads = 1  # with pictures this small, two would mostly wait for each other


def vary(config: Config, variant: str, file: str, **variants: Callable[[Config], None]) -> Config:
    """Returns the config as `variant` changes it; "" leaves it as it is.

    Raises:
      ValueError: `file` has no such variant.
    """
    if variant and variant not in variants:
        known = ", ".join(map(repr, variants))
        raise ValueError(f"{file} has no variant {variant!r}; it has {known}")
    if variant:
        variants[variant](config)
    return config
