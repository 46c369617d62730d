"""Draw the README's picture of the embedded faces: `docs/images/contact_sheet.jpg`.

    PYTHONPATH=. python scripts/contact_sheet.py

One row a person, one column a picture's attributes; below, every occluder twice with its mask.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.files import publish_file
from faceshifter_jax.synthetic import (
    OCCLUDERS,
    render,
    render_layers,
    sample_attributes,
    sample_identity,
)

OUTPUT = Path(__file__).resolve().parents[1] / "docs/images/contact_sheet.jpg"


def contact_sheet(
    rows: int, columns: int, size: int, *, first_identity: int = 0, first_attributes: int = 0
) -> np.ndarray:
    """Picture (height, width, 3) uint8: the same identity in a row, the same attributes in a
    column, then a row of occluders and a row of their masks."""
    people = [sample_identity(first_identity + row) for row in range(rows)]
    looks = [
        sample_attributes(first_attributes + column, occluder="none") for column in range(columns)
    ]
    grid = [[render(person, look, size) for look in looks] for person in people]
    covered, masks = [], []
    for column in range(columns):
        kind = OCCLUDERS[column * len(OCCLUDERS) // columns]
        seed = first_attributes + columns + column
        layers = render_layers(people[column % rows], sample_attributes(seed, occluder=kind), size)
        covered.append(layers.image)
        mask = np.round(layers.occluder_mask * 255).astype(np.uint8)
        masks.append(np.repeat(mask[..., None], 3, -1))
    return np.concatenate([np.concatenate(row, 1) for row in (*grid, covered, masks)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUTPUT)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--first-identity", type=int, default=0)
    parser.add_argument("--first-attributes", type=int, default=20)
    options = parser.parse_args()
    picture = contact_sheet(
        options.rows,
        options.columns,
        options.size,
        first_identity=options.first_identity,
        first_attributes=options.first_attributes,
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with publish_file(options.out, overwrite=True) as beside:
        Image.fromarray(picture).save(beside, "JPEG", quality=88)
    print(f"{options.out}: {picture.shape[1]}x{picture.shape[0]}")


if __name__ == "__main__":
    main()
