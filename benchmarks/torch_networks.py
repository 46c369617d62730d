"""The opponent: the same networks as a plain PyTorch port would write them.

NCHW, standard modules, no tricks. Modules have the names of ours, so that `load` can copy our
parameters over and both compute the same numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

STAGE_BLOCKS = {10: (1, 1, 1, 1), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}


def upsample(x: torch.Tensor) -> torch.Tensor:
    """Doubles rows and columns of (B, C, H, W) bilinearly, corners mapped onto corners."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


def instance_norm(x: torch.Tensor) -> torch.Tensor:
    """`F.instance_norm`, by what is the fastest on a CPU and in the memory format of `x`.

    `F.instance_norm` leaves NCHW behind it, and `group_norm` of channels_last is slow in bfloat16.
    """
    last = x.is_contiguous(memory_format=torch.channels_last)
    normal = F.group_norm(x.contiguous(), x.shape[1])
    return normal.contiguous(memory_format=torch.channels_last) if last else normal


def crop_for_identity(pictures: torch.Tensor, size: int = 112) -> torch.Tensor:
    """Cuts the ArcFace crop out of aligned pictures (B, 3, S, S), as `networks.identity`."""
    scale = pictures.shape[2] / 256
    start, stop = round(19 * scale), round(237 * scale)
    crop = pictures[:, :, start:stop, start:stop]
    return F.interpolate(crop, (size, size), mode="bilinear", antialias=True)


class AttributeEncoder(nn.Module):
    """A U-Net over (B, 3, S, S); returns its decoder's maps, coarse to fine.

    In training the batch's statistics normalise; `forward(x, track=False)` does not keep them.
    """

    def __init__(self, channels: Sequence[int] = (32, 64, 128, 256, 512, 1024, 1024)):
        super().__init__()
        self.depth = len(channels)
        width = 3
        for i, features in enumerate(channels):
            self.add_module(f"down_{i}", nn.Conv2d(width, features, 4, 2, 1, bias=False))
            self.add_module(f"down_norm_{i}", nn.BatchNorm2d(features, momentum=0.01))
            width = features
        for i, features in enumerate(reversed(channels[:-1])):
            self.add_module(f"up_{i}", nn.ConvTranspose2d(width, features, 4, 2, 1, bias=False))
            self.add_module(f"up_norm_{i}", nn.BatchNorm2d(features, momentum=0.01))
            width = 2 * features

    def forward(self, x: torch.Tensor, track: bool = True) -> tuple[torch.Tensor, ...]:
        down = []
        for i in range(self.depth):
            x = self.get_submodule(f"down_{i}")(x)
            x = F.leaky_relu(_normalise(self.get_submodule(f"down_norm_{i}"), x, track), 0.1)
            down.append(x)
        attributes = [x]
        for i, skip in enumerate(reversed(down[:-1])):
            x = self.get_submodule(f"up_{i}")(x)
            x = F.leaky_relu(_normalise(self.get_submodule(f"up_norm_{i}"), x, track), 0.1)
            x = torch.cat([x, skip], 1)
            attributes.append(x)
        return (*attributes, upsample(x))


def _normalise(norm: nn.BatchNorm2d, x: torch.Tensor, track: bool) -> torch.Tensor:
    if track or not norm.training:
        return norm(x)
    return F.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)


class AADLayer(nn.Module):
    """Adaptive attentional denormalisation with 1x1 convolutions and one mask."""

    def __init__(self, channels: int, attribute_channels: int, embedding_size: int):
        super().__init__()
        self.gamma_att = nn.Conv2d(attribute_channels, channels, 1)
        self.beta_att = nn.Conv2d(attribute_channels, channels, 1)
        self.gamma_id = nn.Linear(embedding_size, channels)
        self.beta_id = nn.Linear(embedding_size, channels)
        self.mask = nn.Conv2d(channels, 1, 1)

    def forward(self, x, attribute, identity):
        h = instance_norm(x)
        from_attribute = self.gamma_att(attribute) * h + self.beta_att(attribute)
        gamma, beta = self.gamma_id(identity), self.beta_id(identity)
        from_identity = gamma[:, :, None, None] * h + beta[:, :, None, None]
        mask = torch.sigmoid(self.mask(h))
        return (1 - mask) * from_attribute + mask * from_identity


class AADResBlock(nn.Module):
    """AAD, ReLU, 3x3 convolution, twice, plus a skip path."""

    def __init__(self, width: int, features: int, attribute_channels: int, embedding_size: int):
        super().__init__()
        units = {"0": width, "1": features}
        self.has_skip = width != features
        if self.has_skip:
            units["skip"] = features
        for name, out in units.items():
            self.add_module(f"aad_{name}", AADLayer(width, attribute_channels, embedding_size))
            self.add_module(f"conv_{name}", nn.Conv2d(width, out, 3, 1, 1, bias=False))

    def forward(self, x, attribute, identity):
        def unit(h, name):
            h = F.relu(self.get_submodule(f"aad_{name}")(h, attribute, identity))
            return self.get_submodule(f"conv_{name}")(h)

        out = unit(unit(x, "0"), "1")
        return out + (unit(x, "skip") if self.has_skip else x)


class AADGenerator(nn.Module):
    """Builds a picture from an identity and multi-level attributes."""

    def __init__(self, channels, attribute_channels, embedding_size, first_size):
        super().__init__()
        self.depth = len(channels)
        self.start = nn.ConvTranspose2d(embedding_size, channels[0], first_size)
        widths = (*channels, 3)
        for i, attribute in enumerate(attribute_channels):
            block = AADResBlock(widths[i], widths[i + 1], attribute, embedding_size)
            self.add_module(f"block_{i}", block)

    def forward(self, attributes, identity):
        x = self.start(identity[:, :, None, None])
        for i in range(self.depth):
            x = upsample(x) if i else x
            x = self.get_submodule(f"block_{i}")(x, attributes[i], identity)
        return torch.tanh(x.float())


class AEINet(nn.Module):
    """Attribute encoder and generator; `forward` returns the swap and the attributes.

    Args:
      image_size: S; the first map has S / 2**len(encoder_channels) rows.
    """

    def __init__(
        self,
        image_size: int = 256,
        encoder_channels: Sequence[int] = (32, 64, 128, 256, 512, 1024, 1024),
        generator_channels: Sequence[int] = (1024, 1024, 1024, 1024, 512, 256, 128, 64),
        embedding_size: int = 512,
    ):
        super().__init__()
        joined = [2 * width for width in reversed(encoder_channels[:-1])]
        attribute_channels = (encoder_channels[-1], *joined, joined[-1])
        self.encoder = AttributeEncoder(encoder_channels)
        self.generator = AADGenerator(
            generator_channels,
            attribute_channels,
            embedding_size,
            image_size // 2 ** len(encoder_channels),
        )

    def forward(self, target, identity):
        attributes = self.encoder(target)
        return self.generator(attributes, identity), attributes


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of a picture at one scale."""

    def __init__(self, width: int = 64, num_layers: int = 6):
        super().__init__()
        self.depth = num_layers + 1
        channels = 3
        for i in range(self.depth):
            features = min(width * 2**i, max(512, width))
            stride = 2 if i < num_layers else 1
            self.add_module(f"conv_{i}", nn.Conv2d(channels, features, 4, stride, 2))
            channels = features
        self.scores = nn.Conv2d(channels, 1, 4, 1, 2)

    def forward(self, x):
        for i in range(self.depth):
            x = self.get_submodule(f"conv_{i}")(x)
            x = F.leaky_relu(instance_norm(x) if i else x, 0.2)
        return self.scores(x).float()


class MultiscaleDiscriminator(nn.Module):
    """Patch discriminators on the picture, its half, its quarter."""

    def __init__(self, num_scales: int = 3, width: int = 64, num_layers: int = 6):
        super().__init__()
        self.num_scales = num_scales
        for i in range(num_scales):
            self.add_module(f"scale_{i}", PatchDiscriminator(width, num_layers))

    def forward(self, x) -> tuple[torch.Tensor, ...]:
        scores = []
        for i in range(self.num_scales):
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if i else x
            scores.append(self.get_submodule(f"scale_{i}")(x))
        return tuple(scores)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.reduce = nn.Linear(channels, max(1, channels // 16), bias=False)
        self.expand = nn.Linear(max(1, channels // 16), channels, bias=False)

    def forward(self, x):
        gate = torch.sigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class IRBlock(nn.Module):
    """BN, conv, PReLU, strided conv, BN, squeeze-excitation."""

    def __init__(self, width: int, features: int, stride: int):
        super().__init__()
        self.stride = stride
        self.norm_1 = nn.BatchNorm2d(width)
        self.conv_1 = nn.Conv2d(width, features, 3, 1, 1, bias=False)
        self.prelu = nn.PReLU(features)
        self.conv_2 = nn.Conv2d(features, features, 3, stride, 1, bias=False)
        self.norm_3 = nn.BatchNorm2d(features)
        self.squeeze_excitation = SqueezeExcitation(features)
        self.has_shortcut = width != features
        if self.has_shortcut:
            self.shortcut = nn.Conv2d(width, features, 1, stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(features)

    def forward(self, x):
        out = self.conv_2(self.prelu(self.conv_1(self.norm_1(x))))
        out = self.squeeze_excitation(self.norm_3(out))
        if self.has_shortcut:
            return out + self.shortcut_norm(self.shortcut(x))
        return out + x[:, :, :: self.stride, :: self.stride]


class IRSENet(nn.Module):
    """IR-SE identity network over (B, 3, 112, 112); embeddings (B, E), not normalised."""

    def __init__(self, depth: int = 50, width: int = 64, embedding_size: int = 512):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.stem_prelu = nn.PReLU(width)
        self.blocks = []
        channels = width
        for stage, count in enumerate(STAGE_BLOCKS[depth]):
            for i in range(count):
                features = width * 2**stage
                block = IRBlock(channels, features, 1 if i else 2)
                self.add_module(f"stage_{stage}_block_{i}", block)
                self.blocks.append(f"stage_{stage}_block_{i}")
                channels = features
        self.out_norm = nn.BatchNorm2d(channels)
        self.embedding = nn.Linear(7 * 7 * channels, embedding_size)
        self.embedding_norm = nn.BatchNorm1d(embedding_size)

    def forward(self, x):
        x = self.stem_prelu(self.stem_norm(self.stem(x)))
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        x = self.out_norm(x).permute(0, 2, 3, 1).flatten(1)
        return self.embedding_norm(self.embedding(x).float())


def load(module: nn.Module, variables: Mapping[str, Any]) -> None:
    """Copies the variables of our network of the same kind (`params`, `batch_stats`) over."""
    for name, part in module.named_modules():
        keys = name.split(".")
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            params = _at(variables["params"], (*keys, "norm"))
            statistics = _at(variables["batch_stats"], (*keys, "norm"))
            _fill(part.weight, params["scale"])
            _fill(part.bias, params["bias"])
            _fill(part.running_mean, statistics["mean"])
            _fill(part.running_var, statistics["var"])
        elif isinstance(part, nn.PReLU):
            _fill(part.weight, _at(variables["params"], keys)["slope"])
        elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            params = _at(variables["params"], keys)
            _fill(part.weight, _kernel(part, np.asarray(params["kernel"])))
            if part.bias is not None:
                is_start = keys[-1] == "start"
                parent = _at(variables["params"], keys[:-1])
                _fill(part.bias, parent["start_bias"] if is_start else params["bias"])


def _kernel(part: nn.Module, kernel: np.ndarray) -> np.ndarray:
    if isinstance(part, nn.Conv2d):
        return kernel.transpose(3, 2, 0, 1)
    if isinstance(part, nn.Linear):
        return kernel.T
    if kernel.ndim == 2:
        # Our first map is a dense layer of the identity.
        size, channels = part.kernel_size[0], part.out_channels
        return kernel.reshape(-1, size, size, channels).transpose(0, 3, 1, 2)
    # Ours are stored turned by half a turn.
    return kernel[::-1, ::-1].transpose(2, 3, 0, 1)


def _at(tree: Mapping[str, Any], keys: Sequence[str]) -> Any:
    for key in keys:
        tree = tree[key]
    return tree


def _fill(tensor: torch.Tensor, values: Any) -> None:
    values = torch.from_numpy(np.ascontiguousarray(np.asarray(values, np.float32)))
    if values.shape != tensor.shape:
        raise ValueError(f"{tuple(values.shape)} does not fit {tuple(tensor.shape)}")
    with torch.no_grad():
        tensor.copy_(values)
