"""Built-in cut-outs, rendered from the embedded head model: they need no files."""

import dataclasses

from faceshifter_jax.data.occlusion.cutouts import Cutout, crop_to_content, remember

NUM_CUTOUTS = 500
"""A hundred of each kind: more would add variety, but would be rendered all through training."""

# The rendered heads turn by a standard deviation of 17 degrees. Which way the face of a target
# looks is not known here, so what is worn fits best where it turns less.
_SHARE_OF_TURN = 0.4
_MARGIN_SHARE = 0.125
_LARGE_ENOUGH = 128


class EmbeddedCutouts:
    """Hands, glasses, masks, plain shapes and strands of hair, for pictures of `size` pixels.

    A numbered set: cut-out `index` is of kind `index % len(synthetic.OCCLUDERS)`, and `index`
    seeds its shape, colour, light and view. Each is rendered on first use.
    """

    def __init__(self, size: int):
        # Not at the top: the renderer compiles itself, and a folder of cut-outs does not need it.
        from faceshifter_jax import synthetic

        self._kinds = synthetic.OCCLUDERS
        # Small ones are rendered twice as large, so that `place` draws them sharp.
        self._size = 2 * size if size < _LARGE_ENOUGH else size
        self._remembered = remember(self._render, self._size)

    def __len__(self) -> int:
        return NUM_CUTOUTS

    def __getitem__(self, index: int) -> Cutout:
        if not 0 <= index < NUM_CUTOUTS:
            raise IndexError(f"there is no cut-out {index} among {NUM_CUTOUTS}")
        return self._remembered(index)

    def _render(self, index: int) -> Cutout:
        from faceshifter_jax.synthetic import cutouts, sample_attributes

        size = self._size
        kind = self._kinds[index % len(self._kinds)]
        attributes = sample_attributes(index, occluder=kind)
        if kind == "hand":
            pixels = cutouts.hand_cutout(attributes, size)
            palm = (size / 2, cutouts.PALM_ROW * size)
            return Cutout(*crop_to_content(pixels, palm), "reaching")
        margin = round(_MARGIN_SHARE * size)
        turned = {name: getattr(attributes, name) * _SHARE_OF_TURN for name in ("yaw", "pitch")}
        attributes = dataclasses.replace(attributes, roll=0.0, **turned)
        pixels = cutouts.occluder_cutout(attributes, size, margin)
        if kind == "shape":
            return Cutout(*crop_to_content(pixels))
        middle = size / 2 + margin
        return Cutout(*crop_to_content(pixels, (middle, middle)), "worn", natural_size=size)
