"""MediaPipe's face networks: BlazeFace (arXiv 1907.05047) and the face mesh (arXiv 1907.06724).

They are written as functions of `Layers`, so that one text serves two programs: the linen module
of `linen_layers`, and `cpu_layers`, which have nothing to compile. XLA needs 8 s of a CPU core to
compile the full range, which then takes 0.03 s for a picture.
"""

from typing import Any, Protocol

ANCHOR_NUMBERS = 16
"""Of each anchor: the box's centre and size, then six points, all (x, y)."""
NUM_POINTS = 468
"""Points of the face mesh."""


class Layers(Protocol):
    """What the networks are made of; maps are (B, H, W, C) float32."""

    def conv(self, name: str, x: Any, features: int, kernel: int = 1, stride: int = 1) -> Any:
        """Convolution with bias and TensorFlow's `SAME` padding."""

    def depthwise(self, name: str, x: Any, stride: int = 1) -> Any:
        """3x3 convolution of each channel by itself, with bias, padded `SAME`."""

    def prelu(self, name: str, x: Any) -> Any:
        """ReLU with a slope for each channel."""

    def relu(self, x: Any) -> Any:
        """ReLU."""

    def pool(self, x: Any) -> Any:
        """The largest of each 2x2 places."""

    def upsample(self, x: Any) -> Any:
        """Twice the rows and columns, bilinearly, pixel areas onto pixel areas."""

    def add(self, y: Any, x: Any) -> Any:
        """Their sum; `x` may have fewer channels, those at the end are then as in `y`."""

    def join(self, parts: list[Any]) -> Any:
        """Arrays (B, N, K), one after the other along N."""


def _block(
    layers: Layers,
    name: str,
    x: Any,
    features: int,
    stride: int = 1,
    *,
    narrow: int = 0,
    parametric: bool = False,
) -> Any:
    """Depthwise and pointwise convolutions around a shortcut, which is pooled.

    Args:
      layers: what it is made of.
      name: of its parameters.
      x: (B, H, W, C).
      features: channels of the result, at least C.
      stride: of the first depthwise convolution, 1 or 2.
      narrow: channels between two pairs of convolutions; 0 for one pair.
      parametric: whether the activation at the end is PReLU, else it is ReLU.
    """
    y = layers.depthwise(f"{name}_depthwise", x, stride)
    if narrow:
        y = layers.relu(layers.conv(f"{name}_narrow", y, narrow))
        y = layers.depthwise(f"{name}_depthwise_2", y)
    y = layers.conv(f"{name}_pointwise", y, features)
    if stride > 1:
        x = layers.pool(x)
    y = layers.add(y, x)
    return layers.prelu(f"{name}_prelu", y) if parametric else layers.relu(y)


# Channels and stride of the blocks up to the finer grid.
_SHORT_FINE = (
    *((24, 1), (28, 1), (32, 2), (36, 1), (42, 1)),
    *((48, 2), (56, 1), (64, 1), (72, 1), (80, 1), (88, 1)),
)


def short_range(layers: Layers, x: Any) -> tuple[Any, Any]:
    """BlazeFace for faces that are a good part of the picture.

    Args:
      layers: what it is made of.
      x: (B, 128, 128, 3) in [-1, 1], RGB.

    Returns:
      (B, 896, 16), in pixels from the anchors (see `ANCHOR_NUMBERS`), and (B, 896, 1), the logits
      of being a face. Two anchors a place of a grid of 16x16 come first, then six of 8x8.
    """
    x = layers.relu(layers.conv("stem", x, 24, 5, 2))
    for i, (features, stride) in enumerate(_SHORT_FINE):
        x = _block(layers, f"block_{i}", x, features, stride)
    fine = x
    for i, stride in enumerate((2, 1, 1, 1, 1), len(_SHORT_FINE)):
        x = _block(layers, f"block_{i}", x, 96, stride)
    scores = [layers.conv("fine_scores", fine, 2), layers.conv("scores", x, 6)]
    boxes = [layers.conv("fine_boxes", fine, 32), layers.conv("boxes", x, 96)]
    return _by_anchor(layers, boxes, ANCHOR_NUMBERS), _by_anchor(layers, scores, 1)


# Channels inside, channels, stride; and on the way up, channels, channels inside, blocks.
_FULL_DOWN = (
    *((8, 32, 1), (8, 32, 1), (12, 48, 2), (12, 48, 1), (16, 64, 1), (24, 96, 2), (32, 128, 1)),
    *((32, 128, 1), (36, 144, 2), (48, 192, 1), (64, 256, 1), (96, 384, 2)),
    *((96, 384, 1), (96, 384, 1), (96, 384, 1)),
)
_FULL_UP = ((96, 48, 2), (64, 32, 2), (48, 24, 1))


def full_range(layers: Layers, x: Any) -> tuple[Any, Any]:
    """BlazeFace for faces that are smaller: deeper, and up again to a grid of 48x48.

    Args:
      layers: what it is made of.
      x: (B, 192, 192, 3) in [-1, 1], RGB.

    Returns:
      as `short_range`, (B, 2304, 16) and (B, 2304, 1).
    """
    x = layers.relu(layers.conv("stem", x, 32, 3, 2))
    kept = []
    for i, (narrow, features, stride) in enumerate(_FULL_DOWN):
        if stride > 1:
            kept.append(x)
        x = _block(layers, f"down_{i}", x, features, stride, narrow=narrow)
    for i, (features, narrow, blocks) in enumerate(_FULL_UP):
        x = layers.relu(layers.conv(f"up_{i}", x, features))
        skip = layers.relu(layers.conv(f"skip_{i}", kept[-1 - i], features))
        x = layers.add(skip, layers.upsample(x))
        for j in range(blocks):
            x = _block(layers, f"up_{i}_block_{j}", x, features, narrow=narrow)
    scores, boxes = layers.conv("scores", x, 1), layers.conv("boxes", x, ANCHOR_NUMBERS)
    return _by_anchor(layers, [boxes], ANCHOR_NUMBERS), _by_anchor(layers, [scores], 1)


def _by_anchor(layers: Layers, maps: list[Any], numbers: int) -> Any:
    return layers.join([y.reshape(y.shape[0], -1, numbers) for y in maps])


_MESH = (
    *((16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)),
    *((128, 2), (128, 1), (128, 1), (128, 2), (128, 1), (128, 1)),
)


def face_mesh(layers: Layers, x: Any) -> tuple[Any, Any]:
    """Points of a face that is cut out.

    Args:
      layers: what it is made of.
      x: (B, 192, 192, 3) in [0, 1], RGB; a face that is upright and takes two thirds of it.

    Returns:
      (B, 468, 3): x, y and depth in pixels of the square, and (B, 1), the logit of being a face.
    """
    x = layers.prelu("prelu", layers.conv("stem", x, 16, 3, 2))
    for i, (features, stride) in enumerate(_MESH):
        x = _block(layers, f"block_{i}", x, features, stride, parametric=True)
    points = x
    for i, stride in enumerate((2, 1, 1)):
        points = _block(layers, f"points_{i}", points, 128, stride, parametric=True)
    points = _mesh_head(layers, "points", points, 3 * NUM_POINTS)
    score = _mesh_head(layers, "score", _block(layers, "score_0", x, 128, 2, parametric=True), 1)
    return points.reshape(-1, NUM_POINTS, 3), score


def _mesh_head(layers: Layers, name: str, x: Any, outputs: int) -> Any:
    """From a map of 3x3 places; of the last convolution's places only the middle one is wanted."""
    x = layers.prelu(f"{name}_prelu", layers.conv(f"{name}_narrow", x, 32))
    x = _block(layers, f"{name}_last", x, 32, parametric=True)
    return layers.conv(f"{name}_head", x, outputs, 3, 3).reshape(-1, outputs)
