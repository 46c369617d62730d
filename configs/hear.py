"""HEAR-Net, the second stage of FaceShifter (arXiv 1912.13457)."""

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Paper scale, or with `:demo` a size that a laptop trains in two minutes."""
    config = ml_collections.ConfigDict()
    config.task = "hear"
    config.seed = 0
    config.num_steps = 50_000
    config.batch_size = 64
    config.parallel = "jit"  # or "pmap"
    config.compute_dtype = "float32"  # or "bfloat16"
    config.accumulate_steps = 1  # micro-batches of a step: less memory, a little more time
    config.log_every_steps = 100
    config.save_every_steps = 5_000
    config.sample_every_steps = 1_000
    config.keep_checkpoints = 3
    config.keep_every_steps = 50_000  # 0: only the newest are kept
    config.init_from = ""  # trained networks to begin with, separated by commas
    config.image_size = 256
    config.ema_decay = 0.999  # 0: the weights as they are
    config.compilation_cache = ""  # directory that keeps compiled programs from run to run

    _add_distributed(config)
    _add_data(config)
    _add_networks(config)
    _add_loss(config)
    _add_health(config)
    _add_optimizer(config)

    if variant == "demo":
        _shrink(config)
    elif variant:
        raise ValueError(f"configs/hear.py has no variant {variant!r}; it has 'demo'")
    return config


def _add_distributed(config: ml_collections.ConfigDict) -> None:
    config.distributed = ml_collections.ConfigDict()
    config.distributed.mode = "off"  # "automatic" (TPU pod, Slurm, Open MPI) or "coordinator"
    config.distributed.coordinator = ""  # host:port of process 0
    config.distributed.num_processes = 0
    config.distributed.process_id = 0
    config.distributed.timeout_seconds = 300  # to wait for the other processes


def _add_data(config: ml_collections.ConfigDict) -> None:
    config.data = ml_collections.ConfigDict()
    config.data.path = ""
    config.data.alignment = "arcface"  # of its faces, as `faceshifter prepare` has it
    config.data.same_picture_share = 0.5
    config.data.same_identity_share = 0.0
    config.data.reconstruct_same_identity = False
    config.data.horizontal_flip = False
    config.data.colour_jitter = 0.0
    config.data.occlusion_share = 0.5  # of the targets get something in front of the face
    config.data.occluders = ""  # folder of PNG files with alpha; "": built-in things
    config.data.subset = ""  # list of targets from `faceshifter mine`; "": all pictures
    config.data.num_threads = 16
    config.data.prefetch_batches = 16  # batches in the making bound the threads at work
    config.data.cache_megabytes = 256.0  # decoded pictures stay in memory if all fit


def _add_networks(config: ml_collections.ConfigDict) -> None:
    config.aei = ml_collections.ConfigDict()
    config.aei.weights = ""

    config.identity = ml_collections.ConfigDict()
    config.identity.weights = ""

    config.model = ml_collections.ConfigDict()
    config.model.channels = (64, 128, 256, 512, 512)
    config.model.use_bias = True
    config.model.input_skip = False
    config.model.output = "tanh"  # or "gated", or, with the target, "blend"


def _add_loss(config: ml_collections.ConfigDict) -> None:
    config.loss = ml_collections.ConfigDict()
    config.loss.identity = 1.0
    config.loss.change = 1.0
    config.loss.reconstruction = 1.0
    config.loss.occluder = 0.0  # not in the paper: error where a synthetic occlusion lies


def _add_health(config: ml_collections.ConfigDict) -> None:
    config.health = ml_collections.ConfigDict()
    config.health.warn_after_steps = 5_000  # 0: never
    config.health.window_steps = 1_000  # their averages are judged
    config.health.nearer_source = 0.5  # warn if fewer swaps are nearer to their source


def _add_optimizer(config: ml_collections.ConfigDict) -> None:
    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "adam"  # or "sgd"
    config.optimizer.learning_rate = 4e-4
    config.optimizer.schedule = "constant"  # or "cosine"
    config.optimizer.warmup_steps = 0
    config.optimizer.b1 = 0.0
    config.optimizer.b2 = 0.999
    config.optimizer.weight_decay = 0.0


def _shrink(config: ml_collections.ConfigDict) -> None:
    config.num_steps = 800
    config.batch_size = 8
    config.log_every_steps = 50
    config.save_every_steps = 300
    config.sample_every_steps = 150
    config.keep_every_steps = 0
    config.image_size = 64
    config.health.warn_after_steps = 200
    config.health.window_steps = 100
    config.ema_decay = 0.99
    config.data.path = "runs/demo/data/train"
    config.data.occlusion_share = 0.8
    config.data.num_threads = 1  # with pictures this small, two would mostly wait for each other
    config.aei.weights = "runs/demo/aei"
    config.identity.weights = "shipped:identity"
    config.model.channels = (24, 48, 96, 128, 128)
    config.model.input_skip = True
    config.model.output = "blend"
    # The demo's AEI-Net is so soft that there is more to restore than at paper scale.
    config.loss.identity = 16.0
    config.loss.change = 0.2
    config.loss.reconstruction = 200.0
    config.loss.occluder = 1000.0
    config.optimizer.learning_rate = 4e-3
    config.optimizer.b1 = 0.9
    config.optimizer.schedule = "cosine"
