"""An identity network trained with the additive angular margin loss (arXiv 1801.07698)."""

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Paper scale, or with `:demo` a size that a laptop trains in a minute or two."""
    config = ml_collections.ConfigDict()
    config.task = "arcface"
    config.seed = 0
    config.num_steps = 180_000
    config.batch_size = 512
    config.parallel = "jit"  # or "pmap"
    config.compute_dtype = "float32"  # or "bfloat16"
    config.accumulate_steps = 1  # micro-batches of a step: less memory, a little more time
    config.log_every_steps = 100
    config.save_every_steps = 5_000
    config.sample_every_steps = 5_000
    config.keep_checkpoints = 3
    config.keep_every_steps = 50_000  # 0: only the newest are kept
    config.init_from = ""  # trained networks to begin with, separated by commas
    config.image_size = 256
    config.ema_decay = 0.999  # 0: the weights as they are
    config.compilation_cache = ""  # directory that keeps compiled programs from run to run

    _add_distributed(config)
    _add_data(config)
    _add_network(config)
    _add_loss(config)
    _add_optimizer(config)

    if variant == "demo":
        _shrink(config)
    elif variant:
        raise ValueError(f"configs/arcface.py has no variant {variant!r}; it has 'demo'")
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
    config.data.horizontal_flip = True
    config.data.colour_jitter = 0.0
    config.data.identity_codes = False  # of rendered faces, for loss.code
    config.data.identity_views = 0  # 1: random crops, colours, blur, noise and cut-outs
    config.data.num_threads = 16
    config.data.prefetch_batches = 16  # batches in the making bound the threads at work
    config.data.cache_megabytes = 256.0  # decoded pictures stay in memory if all fit


def _add_network(config: ml_collections.ConfigDict) -> None:
    config.model = ml_collections.ConfigDict()
    config.model.depth = 50  # 10, 18, 34, 50, 100, 152 or 200
    config.model.width = 64
    config.model.embedding_size = 512
    config.model.variant = "ir"  # or "iresnet"
    config.model.squeeze_excitation = True
    config.model.input_size = 112
    config.model.num_classes = 0  # 0: as many as the dataset has identities


def _add_loss(config: ml_collections.ConfigDict) -> None:
    config.loss = ml_collections.ConfigDict()
    config.loss.margin = 0.5  # radians
    config.loss.scale = 64.0
    config.loss.classes = 1.0  # which identity of the dataset it is, by the angular margin
    config.loss.code = 0.0  # the code of a rendered person, with data.identity_codes


def _add_optimizer(config: ml_collections.ConfigDict) -> None:
    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "sgd"  # or "adam"
    config.optimizer.learning_rate = 0.1
    config.optimizer.schedule = "cosine"  # or "constant"
    config.optimizer.warmup_steps = 2_000
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999  # of adam alone
    config.optimizer.weight_decay = 5e-4


def _shrink(config: ml_collections.ConfigDict) -> None:
    config.num_steps = 1_500
    config.batch_size = 32
    config.log_every_steps = 100
    config.save_every_steps = 500
    config.sample_every_steps = 500
    config.keep_every_steps = 0
    config.image_size = 64
    config.ema_decay = 0.98
    config.data.path = "runs/demo/data/train"
    config.data.num_threads = 1  # with pictures this small, two would mostly wait for each other
    config.model.depth = 10
    config.model.width = 16
    config.model.embedding_size = 128
    config.model.squeeze_excitation = False
    # As at paper scale the crop is shrunk for the network, so that pixel noise cannot fool it.
    config.model.input_size = 40
    config.loss.margin = 0.2
    config.loss.scale = 24.0
    config.optimizer.warmup_steps = 50
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.weight_decay = 1e-2
