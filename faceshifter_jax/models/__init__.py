"""The networks: Flax linen modules and nothing else."""

from faceshifter_jax.models.aad import AADLayer, AADResBlock, AADSettings
from faceshifter_jax.models.aei_net import AADGenerator, AEINet, AEIOutput
from faceshifter_jax.models.arcface import STAGE_BLOCKS, IResNet
from faceshifter_jax.models.attribute_encoder import AttributeEncoder
from faceshifter_jax.models.discriminator import MultiscaleDiscriminator, PatchDiscriminator
from faceshifter_jax.models.folding import fold
from faceshifter_jax.models.hear_net import HEARNet
from faceshifter_jax.models.mobilefacenet import MobileFaceNet
from faceshifter_jax.models.resnet import ResNet

__all__ = [
    "STAGE_BLOCKS",
    "AADGenerator",
    "AADLayer",
    "AADResBlock",
    "AADSettings",
    "AEINet",
    "AEIOutput",
    "AttributeEncoder",
    "HEARNet",
    "IResNet",
    "MobileFaceNet",
    "MultiscaleDiscriminator",
    "PatchDiscriminator",
    "ResNet",
    "fold",
]
