"""Datasets say how their faces are aligned, and whoever needs them otherwise refuses them."""

import numpy as np
import pytest
from PIL import Image
from published_pictures import SOURCE, KnownLandmarks, picture
from small_pictures import SIZE

from faceshifter_jax.cli import main
from faceshifter_jax.data import PreparedDataset, prepare_folder
from faceshifter_jax.data.loader import build_loader
from faceshifter_jax.data.preparation.prepare import prepare_photos
from faceshifter_jax.data.preparation.raw_photos import FaceRules, judge_photo
from faceshifter_jax.errors import UserError
from faceshifter_jax.faces.alignment import align
from faceshifter_jax.faces.finder import FaceFinder
from faceshifter_jax.media.images import decode_picture


@pytest.fixture(scope="module")
def ffhq(photos, tmp_path_factory):
    """A dataset of pictures that somebody aligned as FFHQ's."""
    out = tmp_path_factory.mktemp("ffhq") / "data"
    return prepare_folder(photos, out, size=SIZE, alignment="ffhq", num_workers=1)


def load(path, **settings):
    return build_loader(
        "pairs", {"path": str(path), "num_threads": 0, **settings}, seed=0, batch_size=2,
        image_size=SIZE,
    )  # fmt: skip


def test_a_training_gets_the_alignment_that_it_asks_for(ffhq, dataset_path):
    dataset = PreparedDataset(ffhq)
    assert dataset.alignment == "ffhq"
    assert dataset.is_aligned_by("ffhq")
    assert not dataset.is_aligned_by("arcface")
    with pytest.raises(UserError, match="aligned by ffhq, the training run wants arcface: prepare"):
        load(ffhq)
    assert next(load(ffhq, alignment="ffhq"))["target"].shape == (2, SIZE, SIZE, 3)
    # Of pictures that nobody said it of nothing is known.
    assert PreparedDataset(dataset_path).alignment is None
    assert next(load(dataset_path, alignment="ffhq"))["target"].shape == (2, SIZE, SIZE, 3)


def test_photos_are_cut_out_as_they_are_asked_for():
    rules = FaceRules(min_pixels=0, min_sharpness=0, alignment="insightface-0.2")
    finder = FaceFinder(112, KnownLandmarks(), alignment=rules.alignment)
    finding = judge_photo(picture(0), finder, rules)
    ours = decode_picture(finding.encoded).astype(float)
    theirs = align(picture(0), SOURCE, 112, "insightface-0.2")
    # As a JPEG.
    assert np.abs(ours - theirs).mean() < 4


def test_the_dataset_of_photos_records_it(tmp_path):
    Image.fromarray(picture(1)).save(tmp_path / "one.png")
    options = {"size": 64, "min_pixels": 0, "min_sharpness": 0.0, "num_workers": 1}
    out = prepare_photos(
        tmp_path,
        tmp_path / "out",
        detector="published_pictures:KnownLandmarks",
        alignment="taotaonice",
        **options,
    )
    assert PreparedDataset(out).alignment == "taotaonice"
    with pytest.raises(UserError, match="there is no alignment 'dlib'"):
        prepare_photos(tmp_path, tmp_path / "other", alignment="dlib", **options)


def test_the_command_takes_it(photos, tmp_path, capsys):
    command = ["prepare", str(photos), str(tmp_path / "out"), "--size", str(SIZE)]
    assert main([*command, "--alignment", "arcface-tight", "--num-workers", "1"]) == 0
    assert PreparedDataset(tmp_path / "out").alignment == "arcface-tight"
