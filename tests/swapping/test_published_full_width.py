"""The whole path of published generators at full width, against what PyTorch printed for it.

`tests/golden/whole_paths.npz` holds every 16th row and column of the swaps of the pictures in
`published_pictures`, in grey levels, and the embeddings of the source. They come from the
originals' way written in PyTorch 2.13 (networks, resizing), OpenCV 4.14 (`warpAffine`, `resize`)
and scikit-image 0.26 (the similarity), with weights by the recipe; the networks there agree with
the other outputs in `tests/golden` to 1e-5.
"""

import jax
import numpy as np
import published_layouts as published
import pytest
from golden_networks import GOLDEN, make_state_dict, read_golden
from published_pictures import SOURCE, TARGET, picture
from safetensors.numpy import save_file

from faceshifter_jax.cli import main
from faceshifter_jax.faces.alignment import align
from faceshifter_jax.swapping.stages import load_stages


def converted(tmp_path, name, shapes):
    save_file(make_state_dict(shapes), tmp_path / "published.pth")
    out = str(tmp_path / f"{name}.safetensors")
    assert main(["convert", str(tmp_path / "published.pth"), out]) == 0
    (tmp_path / "published.pth").unlink()
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ghost", "taotaonice"])
def test_the_whole_path_prints_what_pytorch_prints(tmp_path, name):
    hear = None
    if name == "ghost":
        shapes, _ = read_golden("aei_unet_2blocks_ghost")
        identity = converted(tmp_path, "identity", published.iresnet((3, 13, 30, 3)))
    else:
        shapes, _ = read_golden("aei_unet_taotaonice")
        identity = converted(tmp_path, "identity", read_golden("ir_se50")[0])
        hear = converted(tmp_path, "hear", read_golden("hear_taotaonice")[0])
    stages = load_stages(converted(tmp_path, name, shapes), identity, hear, batch_size=1)
    rule = stages.contract.alignment
    source, target = (
        align(picture(k), landmarks, stages.square_size, rule)[None]
        for k, landmarks in enumerate((SOURCE, TARGET))
    )
    swaps = stages.run(source, target)[0] * 127.5 + 127.5
    network = stages.networks[1]
    embedding = np.asarray(jax.jit(type(network).features)(network, source / np.float32(127.5) - 1))
    with np.load(GOLDEN / "whole_paths.npz") as theirs:
        wanted = theirs[f"{name}_embedding"]
        lengths = np.linalg.norm(embedding[0]), np.linalg.norm(wanted)
        assert embedding[0] @ wanted / np.prod(lengths) > 0.999998
        if name == "ghost":
            assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)
        stored = [theirs[name]] if hear is None else [theirs[name], theirs[f"{name}_hear"]]
        for ours, printed in zip((swaps[0], swaps[-1]), stored, strict=False):
            error = np.abs(ours[::16, ::16] - printed)
            print(f"mean {error.mean():.4f}, largest {error.max():.3f} grey levels")
            assert error.mean() < 0.05
            # Weights by the recipe give ghost embeddings of length 1043, which drive its tanh hard.
            assert error.max() < 1.5
