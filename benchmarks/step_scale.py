"""How large the step is that `step.py` measures, for us and for the opponents alike."""

import dataclasses

import numpy as np


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


SCALES = {
    "paper": Scale(
        image_size=256,
        encoder=(32, 64, 128, 256, 512, 1024, 1024),
        generator=(1024, 1024, 1024, 1024, 512, 256, 128, 64),
        num_scales=3,
        judge_width=64,
        judge_layers=6,
        identity_depth=50,
        identity_width=64,
        embedding_size=512,
    ),
    "demo": Scale(
        image_size=64,
        encoder=(24, 48, 96, 128, 128),
        generator=(128, 128, 128, 96, 48, 24),
        num_scales=2,
        judge_width=24,
        judge_layers=3,
        identity_depth=10,
        identity_width=16,
        embedding_size=128,
    ),
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
