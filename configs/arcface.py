"""An identity network trained with the additive angular margin loss (arXiv 1801.07698)."""

from ml_collections import ConfigDict

from configs.default import Config, shared_config, shared_optimizer, shrink, vary


def get_config(variant: str = "") -> Config:
    """Paper scale, or with `:demo` a size that a laptop trains in a minute or two."""
    config = shared_config()
    config.task = "arcface"
    config.num_steps = 180_000
    config.batch_size = 512
    config.sample_every_steps = 5_000

    _add_data(config)
    _add_network(config)
    _add_loss(config)
    _add_optimizer(config)

    return vary(config, variant, "configs/arcface.py", demo=_shrink)


def _add_data(config: Config) -> None:
    config.data.horizontal_flip = True
    config.data.identity_codes = False  # of rendered faces, for loss.code
    config.data.identity_views = 0  # 1: random crops, colours, blur, noise and cut-outs


def _add_network(config: Config) -> None:
    config.model = ConfigDict()
    config.model.depth = 50  # 10, 18, 34, 50, 100, 152 or 200
    config.model.width = 64
    config.model.embedding_size = 512
    config.model.variant = "ir"  # or "iresnet"
    config.model.squeeze_excitation = True
    config.model.input_size = 112
    config.model.num_classes = 0  # 0: as many as the dataset has identities


def _add_loss(config: Config) -> None:
    config.loss = ConfigDict()
    config.loss.margin = 0.5  # radians
    config.loss.scale = 64.0
    config.loss.classes = 1.0  # which identity of the dataset it is, by the angular margin
    config.loss.code = 0.0  # the code of a rendered person, with data.identity_codes


def _add_optimizer(config: Config) -> None:
    config.optimizer = shared_optimizer()
    config.optimizer.name = "sgd"  # or "adam"
    config.optimizer.learning_rate = 0.1
    config.optimizer.schedule = "cosine"  # or "constant"
    config.optimizer.warmup_steps = 2_000
    config.optimizer.b1 = 0.9
    config.optimizer.weight_decay = 5e-4


def _shrink(config: Config) -> None:
    shrink(config)
    config.num_steps = 1_500
    config.batch_size = 32
    config.log_every_steps = 100
    config.save_every_steps = 500
    config.sample_every_steps = 500
    config.ema_decay = 0.98
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
