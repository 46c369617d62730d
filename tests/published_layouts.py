"""Keys and shapes of published PyTorch networks at any width, as their state dicts list them.

Each was compared with the state dict of the network itself, built in PyTorch, and some were run
there: tests/golden/small_published.npz has their outputs, and a note on how they were made.
"""

Shapes = dict[str, tuple[int, ...]]


def conv(name: str, into: int, out: int, kernel: int, bias: bool = False) -> Shapes:
    shapes = {f"{name}.weight": (out, into, kernel, kernel)}
    return {**shapes, f"{name}.bias": (out,)} if bias else shapes


def up_conv(name: str, into: int, out: int, kernel: int = 4, bias: bool = False) -> Shapes:
    shapes = {f"{name}.weight": (into, out, kernel, kernel)}
    return {**shapes, f"{name}.bias": (out,)} if bias else shapes


def dense(name: str, into: int, out: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def batch_norm(name: str, width: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    shapes: Shapes = {f"{name}.{vector}": (width,) for vector in vectors}
    return {**shapes, f"{name}.num_batches_tracked": ()}


def join(*parts: Shapes) -> Shapes:
    return {key: shape for part in parts for key, shape in part.items()}


def iresnet(blocks: tuple[int, ...], width: int = 64, side: int = 7, size: int = 512) -> Shapes:
    """IResNet of arcface_torch for pictures of 16 * `side` pixels, embeddings of `size`."""
    shapes = join(conv("conv1", 3, width, 3), batch_norm("bn1", width), {"prelu.weight": (width,)})
    into = width
    for stage, count in enumerate(blocks):
        out = width * 2**stage
        for i in range(count):
            name = f"layer{stage + 1}.{i}"
            shapes |= join(
                batch_norm(f"{name}.bn1", into),
                conv(f"{name}.conv1", into, out, 3),
                batch_norm(f"{name}.bn2", out),
                {f"{name}.prelu.weight": (out,)},
                conv(f"{name}.conv2", out, out, 3),
                batch_norm(f"{name}.bn3", out),
            )
            if i == 0:
                shapes |= conv(f"{name}.downsample.0", into, out, 1)
                shapes |= batch_norm(f"{name}.downsample.1", out)
            into = out
    last = (dense("fc", into * side**2, size), batch_norm("features", size))
    return join(shapes, batch_norm("bn2", into), *last)


def ir(blocks: tuple[int, ...], width: int = 64, side: int = 7, attentive: bool = False) -> Shapes:
    """IR or, if `attentive`, IR-SE of InsightFace_Pytorch, embeddings of 512."""
    last = 8 * width
    shapes = join(
        conv("input_layer.0", 3, width, 3),
        batch_norm("input_layer.1", width),
        {"input_layer.2.weight": (width,)},
        batch_norm("output_layer.0", last),
        dense("output_layer.3", last * side**2, 512),
        batch_norm("output_layer.4", 512),
    )
    widths = [width * 2**stage for stage, count in enumerate(blocks) for _ in range(count)]
    for i, (into, out) in enumerate(zip([width, *widths], widths, strict=False)):
        layer = f"body.{i}.res_layer"
        if into != out:
            shapes |= conv(f"body.{i}.shortcut_layer.0", into, out, 1)
            shapes |= batch_norm(f"body.{i}.shortcut_layer.1", out)
        shapes |= join(
            batch_norm(f"{layer}.0", into),
            conv(f"{layer}.1", into, out, 3),
            {f"{layer}.2.weight": (out,)},
            conv(f"{layer}.3", out, out, 3),
            batch_norm(f"{layer}.4", out),
        )
        if attentive:
            shapes |= conv(f"{layer}.5.fc1", out, out // 16, 1)
            shapes |= conv(f"{layer}.5.fc2", out // 16, out, 1)
    return shapes


def resnet(blocks: tuple[int, ...], width: int = 64, size: int = 256) -> Shapes:
    """torchvision's ResNet with bottlenecks, as maum-ai/faceshifter embeds people by it."""
    shapes = join(conv("conv1", 3, width, 7), batch_norm("bn1", width))
    into = width
    for stage, count in enumerate(blocks):
        inner, out = width * 2**stage, 4 * width * 2**stage
        for i in range(count):
            name = f"layer{stage + 1}.{i}"
            for j, (a, b, kernel) in enumerate(
                ((into, inner, 1), (inner, inner, 3), (inner, out, 1)), 1
            ):
                shapes |= conv(f"{name}.conv{j}", a, b, kernel)
                shapes |= batch_norm(f"{name}.bn{j}", b)
            if i == 0:
                shapes |= conv(f"{name}.downsample.0", into, out, 1)
                shapes |= batch_norm(f"{name}.downsample.1", out)
            into = out
    return join(shapes, dense("fc", into, size))


def aei_encoder(widths: tuple[int, ...], linknet: bool = False) -> tuple[Shapes, list[int]]:
    """The encoder of taotaonice and ghost, and the widths of the attributes that it gives."""
    shapes: Shapes = {}
    for i, (into, out) in enumerate(zip((3, *widths), widths, strict=False), 1):
        shapes |= join(
            conv(f"encoder.conv{i}.0", into, out, 4), batch_norm(f"encoder.conv{i}.1", out)
        )
    attributes = [widths[-1]]
    for i, out in enumerate(reversed(widths[:-1]), 1):
        shapes |= up_conv(f"encoder.deconv{i}.deconv", attributes[-1], out)
        shapes |= batch_norm(f"encoder.deconv{i}.bn", out)
        attributes.append(out if linknet else 2 * out)
    return shapes, [*attributes, attributes[-1]]


def aad(name: str, width: int, attribute: int, identity: int) -> Shapes:
    return join(
        conv(f"{name}.conv1", attribute, width, 1, bias=True),
        conv(f"{name}.conv2", attribute, width, 1, bias=True),
        dense(f"{name}.fc1", identity, width),
        dense(f"{name}.fc2", identity, width),
        conv(f"{name}.conv_h", width, 1, 1, bias=True),
    )


def ghost(
    encoder_widths: tuple[int, ...],
    widths: tuple[int, ...],
    num_blocks: int,
    linknet: bool = False,
    identity: int = 512,
) -> Shapes:
    """AEI-Net of ghost, with `num_blocks` AAD units in each of its blocks."""
    shapes, attributes = aei_encoder(encoder_widths, linknet)
    shapes |= up_conv("generator.up1", identity, widths[0], kernel=2, bias=True)
    outs = (*widths[1:], 3)
    for k, (into, out, attribute) in enumerate(zip(widths, outs, attributes, strict=True), 1):
        block = f"generator.AADBlk{k}"
        units = [(f"add_blocks.{3 * i}", f"add_blocks.{3 * i + 2}") for i in range(num_blocks)]
        after = [into] * (num_blocks - 1) + [out]
        if into != out:
            units.append(("last_add_block.0", "last_add_block.2"))
            after.append(out)
        for (layer, last), width in zip(units, after, strict=True):
            shapes |= aad(f"{block}.{layer}", into, attribute, identity)
            shapes |= conv(f"{block}.{last}", into, width, 3)
    return shapes


def taotaonice(
    encoder_widths: tuple[int, ...], widths: tuple[int, ...], identity: int = 512
) -> Shapes:
    """AEI-Net of taotaonice/FaceShifter."""
    shapes, attributes = aei_encoder(encoder_widths)
    shapes |= up_conv("generator.up1", identity, widths[0], kernel=2, bias=True)
    outs = (*widths[1:], 3)
    for k, (into, out, attribute) in enumerate(zip(widths, outs, attributes, strict=True), 1):
        block = f"generator.AADBlk{k}"
        for unit in (1, 2) if into == out else (1, 2, 3):
            shapes |= aad(f"{block}.AAD{unit}", into, attribute, identity)
            shapes |= conv(f"{block}.conv{unit}", into, into if unit == 1 else out, 3)
    return shapes


def maum(encoder_widths: tuple[int, ...], widths: tuple[int, ...], identity: int = 256) -> Shapes:
    """Generator and encoder of maum-ai/faceshifter as a checkpoint of its training has them."""
    shapes: Shapes = {}
    for i, (into, out) in enumerate(zip((3, *encoder_widths), encoder_widths, strict=False)):
        name = f"E.Encoder.layer_{i}"
        shapes |= join(conv(f"{name}.0", into, out, 4, bias=True), batch_norm(f"{name}.1", out))
    attributes = [encoder_widths[-1]]
    for i, out in enumerate(reversed(encoder_widths[:-1])):
        name = f"E.Decoder.layer_{i}"
        shapes |= up_conv(f"{name}.0", attributes[-1], out, bias=True)
        shapes |= batch_norm(f"{name}.1", out)
        attributes.append(2 * out)
    attributes.append(attributes[-1])
    shapes |= up_conv("G.convt", identity, widths[0], kernel=2, bias=True)
    outs = (*widths[1:], 3)
    for k, (into, out, attribute) in enumerate(zip(widths, outs, attributes, strict=True)):
        for unit in (1, 2) if into == out else (1, 2, 3):
            name = f"G.model.layer_{k}.add{unit}"
            shapes |= join(
                batch_norm(f"{name}.BNorm", into),
                conv(f"{name}.conv_f", into, into, 3, bias=True),
                dense(f"{name}.fc_1", identity, into),
                dense(f"{name}.fc_2", identity, into),
                conv(f"{name}.conv1", attribute, into, 3, bias=True),
                conv(f"{name}.conv2", attribute, into, 3, bias=True),
            )
            last = into if unit == 1 else out
            shapes |= conv(f"G.model.layer_{k}.conv{unit}", into, last, 3, bias=True)
    return shapes


def hear(widths: tuple[int, ...]) -> Shapes:
    """HEAR-Net of taotaonice/FaceShifter."""
    shapes: Shapes = {}
    for i, (into, out) in enumerate(zip((6, *widths), widths, strict=False), 1):
        shapes |= join(conv(f"down{i}.0", into, out, 4, bias=True), batch_norm(f"down{i}.1", out))
    into = widths[-1]
    for i, out in enumerate(reversed(widths[:-1]), 1):
        shapes |= join(up_conv(f"up{i}.0", into, out, bias=True), batch_norm(f"up{i}.1", out))
        into = 2 * out
    return join(shapes, conv(f"up{len(widths)}", into, 3, 3, bias=True))


def discriminator(num_scales: int, num_layers: int, width: int) -> Shapes:
    """Multi-scale discriminator of taotaonice/FaceShifter and ghost."""
    shapes: Shapes = {}
    widths = [min(width * 2**i, 512) for i in range(num_layers + 1)]
    for scale in range(num_scales):
        for i, (into, out) in enumerate(zip((3, *widths), (*widths, 1), strict=True)):
            name = f"layer{scale}.{max(0, 3 * i - 1)}"
            shapes |= conv(name, into, out, 4, bias=True)
    return shapes
