"""AEI-Net, the first stage of FaceShifter (arXiv 1912.13457)."""

from ml_collections import ConfigDict

from configs.default import Config, shared_config, shared_optimizer, shrink, vary


def get_config(variant: str = "") -> Config:
    """Paper scale.

    Variants: `:improved`, against specks, copies and checkerboards; `:512`, the same for pictures
    of 512 pixels; `:demo`, for a laptop.
    """
    config = shared_config()
    config.task = "aei"
    config.num_steps = 500_000
    config.batch_size = 32
    config.remat = "none"  # or "aad": the AAD blocks in less memory and more time

    _add_data(config)
    _add_networks(config)
    _add_loss(config)
    _add_health(config)
    config.optimizer = ConfigDict()
    config.optimizer.generator = shared_optimizer()
    config.optimizer.discriminator = shared_optimizer()

    variants = {"improved": _improve, "512": _enlarge, "demo": _shrink}
    return vary(config, variant, "configs/aei.py", **variants)


def _add_data(config: Config) -> None:
    config.data.same_picture_share = 0.2
    config.data.same_identity_share = 0.0
    config.data.reconstruct_same_identity = False
    config.data.answer_share = 0.0  # of the pairs: with the right answer, from rendered groups
    config.data.pseudo_share = 0.0  # of the rest: the averaged generator's swap is the target
    config.data.identity_views = 0  # random views of a swap that the identity loss sees


def _add_networks(config: Config) -> None:
    config.identity = ConfigDict()
    config.identity.weights = ""
    config.identity.embedding_size = 512
    config.identity.embedding = "unit"  # or "raw": what the generator gets of the embedding
    config.identity.region = (19, 237)  # rows and columns that it sees, in 256ths of a picture
    config.identity.resize = "antialiased"  # or "bilinear", "corners"
    config.identity.loss_weights = ""  # another network for the loss; "": the same one
    config.identity.enough_cosine = 1.0  # beyond it the identity loss is 0

    config.model = ConfigDict()
    config.model.encoder_channels = (32, 64, 128, 256, 512, 1024, 1024)
    config.model.generator_channels = (1024, 1024, 1024, 1024, 512, 256, 128, 64)
    config.model.encoder_skip = "concat"  # or "add"
    config.model.encoder_up = "transposed"  # or "resize": no checkerboards
    config.model.encoder_bias = False
    config.model.identity_length = "unit"  # or "sqrt": the identity is as strong as attributes
    config.model.output = "tanh"  # or "sigmoid"; of the target a "change", "blend" or "warp"
    config.model.generator_up = "corners"  # or "centres"
    config.model.change_pixels = 1  # with "warp", 2, 4 or 8: what it adds can tint, but not draw
    config.model.flow_pixels = 4  # likewise how coarse the flow of a "warp" is
    config.model.reduction = 1  # with "change" or "warp", 2, 4 or 8: works on smaller targets
    config.model.input_range = "signed"  # or "unit"
    config.model.aad = ConfigDict()
    config.model.aad.attribute_kernel = 1
    config.model.aad.mask_kernel = 1
    config.model.aad.mask_per_channel = False
    config.model.aad.norm = "instance"  # or "batch", "robust", "demodulation"
    config.model.aad.use_bias = True
    config.model.aad.conv_bias = False
    config.model.aad.num_units = 2
    config.model.aad.identity_skip = True

    config.discriminator = ConfigDict()
    config.discriminator.num_scales = 3
    config.discriminator.width = 64
    config.discriminator.num_layers = 6
    config.discriminator.use_norm = True


def _add_loss(config: Config) -> None:
    config.loss = ConfigDict()
    config.loss.adversarial = 1.0
    config.loss.attribute = 10.0
    config.loss.identity = 5.0
    config.loss.reconstruction = 10.0
    config.loss.answer = 0.0  # distance to the right answer, where it is known
    config.loss.perceptual = 0.0  # likewise, of the discriminator's features

    config.answer = ConfigDict()
    config.answer.distance = "squared"  # or "absolute"
    config.answer.differ_weight = 1.0  # of places where target and answer differ


def _add_health(config: Config) -> None:
    config.health = ConfigDict()
    config.health.warn_after_steps = 20_000  # 0: never
    config.health.window_steps = 1_000  # their averages are judged
    config.health.nearer_source = 0.5  # warn if fewer swaps are nearer to their source
    config.health.discriminator_accuracy = 0.95  # warn above it on real and on generated


def _improve(config: Config) -> None:
    """The published network with the changes that end its specks, copies and checkerboards."""
    config.model.aad.norm = "robust"
    config.model.identity_length = "sqrt"
    config.model.output = "warp"
    config.model.encoder_up = "resize"
    config.model.generator_up = "centres"
    config.data.identity_views = 2
    config.identity.enough_cosine = 0.7  # of two pictures of one person, by ArcFace networks


def _enlarge(config: Config) -> None:
    """One more outer level, which stays fresh if `init_from` names a network of `:improved`."""
    _improve(config)
    config.image_size = 512
    config.batch_size = 16
    config.remat = "aad"
    config.model.encoder_channels = (16, *config.model.encoder_channels)
    config.model.generator_channels = (*config.model.generator_channels, 32)


def _shrink(config: Config) -> None:
    _improve(config)
    shrink(config)
    config.num_steps = 700
    config.save_every_steps = 500
    config.sample_every_steps = 250
    config.health.warn_after_steps = 0  # right answers teach it, whatever the small network finds
    config.health.window_steps = 100
    config.data.same_picture_share = 0.1
    config.data.same_identity_share = 0.1
    config.data.reconstruct_same_identity = True
    config.data.answer_share = 1.0
    config.data.identity_views = 1
    config.identity.weights = "shipped:identity"
    config.identity.embedding_size = 128
    # Sees pictures of half the size and says on a grid of 16x16 what moves where: sharp from the
    # first steps on, and without the finest levels a step takes half of the time.
    config.model.reduction = 2
    config.model.flow_pixels = 1
    config.model.encoder_channels = (32, 64, 128, 128)
    config.model.generator_channels = (128, 128, 128, 96)
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
