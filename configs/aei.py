"""AEI-Net, the first stage of FaceShifter (arXiv 1912.13457)."""

import ml_collections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Paper scale; `:improved`, against specks, copies and checkerboards; `:demo`, for a laptop."""
    config = ml_collections.ConfigDict()
    config.task = "aei"
    config.seed = 0
    config.num_steps = 500_000
    config.batch_size = 32
    config.parallel = "jit"  # or "pmap"
    config.compute_dtype = "float32"  # or "bfloat16"
    config.remat = "none"  # or "aad": the AAD blocks in less memory and more time
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
    _add_optimizers(config)

    if variant == "improved":
        _improve(config)
    elif variant == "demo":
        _improve(config)
        _shrink(config)
    elif variant:
        raise ValueError(f"configs/aei.py has no variant {variant!r}; it has 'improved', 'demo'")
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
    config.data.same_picture_share = 0.2
    config.data.same_identity_share = 0.0
    config.data.reconstruct_same_identity = False
    config.data.horizontal_flip = False
    config.data.colour_jitter = 0.0
    config.data.answer_share = 0.0  # of the pairs: with the right answer, from rendered groups
    config.data.pseudo_share = 0.0  # of the rest: the averaged generator's swap is the target
    config.data.identity_views = 0  # random views of a swap that the identity loss sees
    config.data.num_threads = 16
    config.data.prefetch_batches = 16  # batches in the making bound the threads at work
    config.data.cache_megabytes = 256.0  # decoded pictures stay in memory if all fit


def _add_networks(config: ml_collections.ConfigDict) -> None:
    config.identity = ml_collections.ConfigDict()
    config.identity.weights = ""
    config.identity.embedding_size = 512
    config.identity.embedding = "unit"  # or "raw": what the generator gets of the embedding
    config.identity.region = (19, 237)  # rows and columns that it sees, in 256ths of a picture
    config.identity.resize = "antialiased"  # or "bilinear", "corners"
    config.identity.loss_weights = ""  # another network for the loss; "": the same one
    config.identity.enough_cosine = 1.0  # beyond it the identity loss is 0

    config.model = ml_collections.ConfigDict()
    config.model.encoder_channels = (32, 64, 128, 256, 512, 1024, 1024)
    config.model.generator_channels = (1024, 1024, 1024, 1024, 512, 256, 128, 64)
    config.model.encoder_skip = "concat"  # or "add"
    config.model.encoder_up = "transposed"  # or "resize": no checkerboards
    config.model.encoder_bias = False
    config.model.identity_length = "unit"  # or "sqrt": the identity is as strong as attributes
    config.model.output = "tanh"  # or "sigmoid"; of the target a "change", "blend" or "warp"
    config.model.generator_up = "corners"  # or "centres"
    config.model.input_range = "signed"  # or "unit"
    config.model.aad = ml_collections.ConfigDict()
    config.model.aad.attribute_kernel = 1
    config.model.aad.mask_kernel = 1
    config.model.aad.mask_per_channel = False
    config.model.aad.norm = "instance"  # or "batch", "robust", "demodulation"
    config.model.aad.use_bias = True
    config.model.aad.conv_bias = False
    config.model.aad.num_units = 2
    config.model.aad.identity_skip = True

    config.discriminator = ml_collections.ConfigDict()
    config.discriminator.num_scales = 3
    config.discriminator.width = 64
    config.discriminator.num_layers = 6
    config.discriminator.use_norm = True


def _add_loss(config: ml_collections.ConfigDict) -> None:
    config.loss = ml_collections.ConfigDict()
    config.loss.adversarial = 1.0
    config.loss.attribute = 10.0
    config.loss.identity = 5.0
    config.loss.reconstruction = 10.0
    config.loss.answer = 0.0  # distance to the right answer, where it is known
    config.loss.perceptual = 0.0  # likewise, of the discriminator's features

    config.answer = ml_collections.ConfigDict()
    config.answer.distance = "squared"  # or "absolute"
    config.answer.differ_weight = 1.0  # of places where target and answer differ


def _add_health(config: ml_collections.ConfigDict) -> None:
    config.health = ml_collections.ConfigDict()
    config.health.warn_after_steps = 20_000  # 0: never
    config.health.window_steps = 1_000  # their averages are judged
    config.health.nearer_source = 0.5  # warn if fewer swaps are nearer to their source
    config.health.discriminator_accuracy = 0.95  # warn above it on real and on generated


def _add_optimizers(config: ml_collections.ConfigDict) -> None:
    config.optimizer = ml_collections.ConfigDict()
    for player in ("generator", "discriminator"):
        optimizer = ml_collections.ConfigDict()
        optimizer.name = "adam"  # or "sgd"
        optimizer.learning_rate = 4e-4
        optimizer.schedule = "constant"  # or "cosine"
        optimizer.warmup_steps = 0
        optimizer.b1 = 0.0
        optimizer.b2 = 0.999
        optimizer.weight_decay = 0.0
        config.optimizer[player] = optimizer


def _improve(config: ml_collections.ConfigDict) -> None:
    """The published network with the changes that end its specks, copies and checkerboards."""
    config.model.aad.norm = "robust"
    config.model.identity_length = "sqrt"
    config.model.output = "change"
    config.model.encoder_up = "resize"
    config.model.generator_up = "centres"
    config.data.identity_views = 2
    config.identity.enough_cosine = 0.7  # of two pictures of one person, by ArcFace networks


def _shrink(config: ml_collections.ConfigDict) -> None:
    config.num_steps = 1_600
    config.batch_size = 8
    config.log_every_steps = 50
    config.save_every_steps = 500
    config.sample_every_steps = 250
    config.keep_every_steps = 0
    config.image_size = 64
    config.health.warn_after_steps = 800
    config.health.window_steps = 100
    config.ema_decay = 0.99
    config.data.path = "runs/demo/data/train"
    config.data.same_picture_share = 0.1
    config.data.same_identity_share = 0.1
    config.data.reconstruct_same_identity = True
    config.data.answer_share = 1.0
    config.data.identity_views = 1
    config.data.num_threads = 1  # with pictures this small, two would mostly wait for each other
    config.identity.weights = "shipped:identity"
    config.identity.embedding_size = 128
    config.model.encoder_channels = (24, 48, 96, 128, 128)
    config.model.generator_channels = (128, 128, 128, 96, 48, 24)
    config.discriminator.num_scales = 2
    config.discriminator.width = 24
    config.discriminator.num_layers = 3
    # Right answers teach; what knows faces by a small network alone is pleased by specks.
    config.loss.adversarial = 0.1
    config.loss.identity = 1.0
    config.loss.reconstruction = 40.0
    config.loss.answer = 40.0
    config.answer.differ_weight = 11.0
    # A small network on a short schedule learns best from steps that paper scale could not take.
    config.optimizer.generator.learning_rate = 3e-3
    config.optimizer.generator.b1 = 0.9
    config.optimizer.generator.warmup_steps = 50
    config.optimizer.generator.schedule = "cosine"
    config.optimizer.discriminator.b1 = 0.5
    config.optimizer.discriminator.schedule = "cosine"
