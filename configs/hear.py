"""HEAR-Net, the second stage of FaceShifter (arXiv 1912.13457)."""

from ml_collections import ConfigDict

from configs.default import Config, shared_config, shared_optimizer, shrink, vary


def get_config(variant: str = "") -> Config:
    """Paper scale; `:512`, for pictures of 512 pixels; `:demo`, for a laptop."""
    config = shared_config()
    config.task = "hear"
    config.num_steps = 50_000
    config.batch_size = 64

    _add_data(config)
    _add_networks(config)
    _add_loss(config)
    _add_health(config)
    config.optimizer = shared_optimizer()

    return vary(config, variant, "configs/hear.py", **{"512": _enlarge, "demo": _shrink})


def _add_data(config: Config) -> None:
    config.data.same_picture_share = 0.5
    config.data.same_identity_share = 0.0
    config.data.reconstruct_same_identity = False
    config.data.answer_share = 0.0  # of the pairs: with the right answer, from rendered groups
    config.data.occlusion_share = 0.5  # of the targets get something in front of the face
    config.data.occluders = ""  # folder of PNG files with alpha; "": built-in things
    config.data.subset = ""  # list of targets from `faceshifter mine`; "": all pictures


def _add_networks(config: Config) -> None:
    config.aei = ConfigDict()
    config.aei.weights = ""

    config.identity = ConfigDict()
    config.identity.weights = ""

    config.model = ConfigDict()
    config.model.channels = (64, 128, 256, 512, 512)
    config.model.use_bias = True
    config.model.input_skip = False
    config.model.output = "tanh"  # or "gated", or, with the target, "blend"


def _add_loss(config: Config) -> None:
    config.loss = ConfigDict()
    config.loss.identity = 1.0
    config.loss.change = 1.0
    config.loss.reconstruction = 1.0
    config.loss.occluder = 0.0  # not in the paper: error where a synthetic occlusion lies
    config.loss.answer = 0.0  # not in the paper: distance to the right answer, where it is known

    config.answer = ConfigDict()
    config.answer.distance = "absolute"  # or "squared"
    config.answer.differ_weight = 1.0  # of places where target and answer differ


def _add_health(config: Config) -> None:
    config.health = ConfigDict()
    config.health.warn_after_steps = 5_000  # 0: never
    config.health.window_steps = 1_000  # their averages are judged
    config.health.nearer_source = 0.5  # warn if fewer swaps are nearer to their source


def _enlarge(config: Config) -> None:
    """The same network, which takes pictures of any size: `init_from` takes one of 256 pixels."""
    config.image_size = 512
    config.batch_size = 16


def _shrink(config: Config) -> None:
    shrink(config)
    config.num_steps = 250
    config.save_every_steps = 125
    config.sample_every_steps = 125
    config.health.warn_after_steps = 150
    config.health.window_steps = 100
    config.data.same_picture_share = 0.1
    config.data.answer_share = 1.0
    config.data.occlusion_share = 0.8
    config.aei.weights = "runs/demo/aei"
    config.identity.weights = "shipped:identity"
    config.model.channels = (24, 48, 96, 128, 128)
    config.model.input_skip = True
    config.model.output = "blend"
    # Right answers say where the target must show; what covers the face counts most of all.
    config.loss.identity = 1.0
    config.loss.change = 30.0
    config.loss.reconstruction = 20.0
    config.loss.occluder = 4000.0
    config.loss.answer = 100.0
    config.answer.differ_weight = 11.0  # with 1, the target is the safer choice nearly everywhere
    config.optimizer.learning_rate = 4e-3
    config.optimizer.b1 = 0.9
    config.optimizer.schedule = "cosine"
