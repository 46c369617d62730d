"""The identity network of maum-ai/faceshifter: a ResNet in torchvision's layout."""

from faceshifter_jax.convert.families.family import Converted, Family
from faceshifter_jax.convert.families.fill import fill, keys_by_stage
from faceshifter_jax.convert.families.state_dict import StateDict
from faceshifter_jax.errors import UserError
from faceshifter_jax.models.resnet import BOTTLENECKS, ResNet
from faceshifter_jax.networks.build import module_settings
from faceshifter_jax.networks.contract import WHOLE, View
from faceshifter_jax.networks.network import InputFormat, Network

SIZE, VIEW = 112, View(WHOLE, "bilinear")
_OUTER = {"stem": "conv1", "stem_norm": "bn1", "embedding": "fc"}
_INNER = {
    **{f"conv_{i}": f"conv{i}" for i in (1, 2, 3)},
    **{f"norm_{i}": f"bn{i}" for i in (1, 2, 3)},
    "conv_shortcut": "downsample.0",
    "norm_shortcut": "downsample.1",
}
_CLASSES_OF_IMAGENET = 1000
_module_key = keys_by_stage(_OUTER, _INNER)


def has_bottlenecks(state: StateDict) -> bool:
    """Whether tensors are of such a network, whole or not."""
    return state.has_key_like(r"layer\d\.\d+\.conv3\.weight")


def convert_resnet(state: StateDict) -> Converted:
    """Converts the network.

    Raises:
      UserError: an unknown depth, a classifier of objects, or what `fill` refuses.
    """
    blocks = tuple(state.count(rf"layer{stage}\.(\d+)\.") for stage in range(1, 5))
    depth = next((depth for depth, known in BOTTLENECKS.items() if known == blocks), None)
    if depth is None:
        known = ", ".join(f"{depth}: {counts}" for depth, counts in BOTTLENECKS.items())
        raise UserError(
            f"{state.path} has {blocks} residual blocks in its stages, an unknown depth ({known})"
        )
    embedding_size, _ = state.shape("fc.weight", 2)
    if embedding_size == _CLASSES_OF_IMAGENET:
        raise UserError(
            f"{state.path} is a ResNet-{depth} that tells 1,000 kinds of things apart, not people: "
            "take the identity network that maum-ai/faceshifter links to"
        )
    width = state.shape("conv1.weight", 4)[0]
    module = ResNet(depth, width, embedding_size)
    family = f"maum-ai ResNet-{depth}"
    variables = fill(module, ((1, SIZE, SIZE, 3),), state, _module_key, family=family)
    network = Network(
        architecture="ResNet",
        settings=module_settings(module),
        variables=variables,
        embedding_size=embedding_size,
        # Pictures in [0, 1], of the faces that the AEI-Net gets.
        input=InputFormat(SIZE, mean=0.0, scale=255.0, alignment="ffhq", view=VIEW),
    )
    return Converted({"identity": network}, family)


FAMILY = Family(
    known="maum-ai/faceshifter ResNet-101 (torchvision's, 256 numbers): identity network",
    claims=has_bottlenecks,
    convert=convert_resnet,
)
