"""The size of the step that `step.py` measures, for us and for the opponents."""

import dataclasses
from pathlib import Path

import numpy as np

from faceshifter_jax.training.config import Config, load_config

_CONFIG = Path(__file__).parents[1] / "configs" / "aei.py"


@dataclasses.dataclass(frozen=True)
class Scale:
    """Sizes of pictures and networks.

    Attributes:
      image_size: rows and columns of a picture.
      encoder, generator: widths, as `config.model.encoder_channels` and `generator_channels`.
      num_scales, judge_width, judge_layers: the discriminator, as `config.discriminator`.
      identity_depth, identity_width, embedding_size: the frozen IR-SE network.
    """

    image_size: int
    encoder: tuple[int, ...]
    generator: tuple[int, ...]
    num_scales: int
    judge_width: int
    judge_layers: int
    identity_depth: int
    identity_width: int
    embedding_size: int


def _scale_of(variant: str, **identity: int) -> Scale:
    """Sizes of `configs/aei.py`, or of its variant."""
    config = read_config(variant)
    return Scale(
        image_size=config.image_size,
        encoder=config.model.encoder_channels,
        generator=config.model.generator_channels,
        num_scales=config.discriminator.num_scales,
        judge_width=config.discriminator.width,
        judge_layers=config.discriminator.num_layers,
        embedding_size=config.identity.embedding_size,
        **identity,
    )


def read_config(variant: str = "") -> Config:
    """The config that `train.py --config configs/aei.py:VARIANT` takes."""
    return load_config(f"{_CONFIG}:{variant}" if variant else str(_CONFIG))


SCALES = {
    "paper": _scale_of("", identity_depth=50, identity_width=64),
    "demo": _scale_of("demo", identity_depth=10, identity_width=16),
    "tiny": Scale(
        image_size=16,
        encoder=(4, 8, 8),
        generator=(8, 8, 6, 4),
        num_scales=1,
        judge_width=4,
        judge_layers=2,
        identity_depth=10,
        identity_width=4,
        embedding_size=8,
    ),
}


def random_batch(scale: Scale, batch_size: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Pictures (B, S, S, 3) uint8 of noise; every fifth pair, the first among them, is one."""
    random = np.random.default_rng(seed)
    shape = (batch_size, scale.image_size, scale.image_size, 3)
    source, target = random.integers(0, 256, (2, *shape), dtype=np.uint8)
    same = np.arange(batch_size) % 5 == 0
    source[same] = target[same]
    return {"source": source, "target": target, "same": same.astype(np.float32)}
