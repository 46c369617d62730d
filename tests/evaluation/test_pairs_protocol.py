"""The protocol `pairs` on a doctored dataset, where every answer is known."""

import numpy as np
import pytest
from lazy_subjects import COPY_SOURCE, COPY_TARGET, PIXELS, arguments_of, make_subject
from onnx_estimators import save_mean_colour
from PIL import Image

from faceshifter_jax.data import prepare_embedded, prepare_folder
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.intervals import jackknife_interval
from faceshifter_jax.evaluation.protocols import pairs
from faceshifter_jax.evaluation.protocols.registry import choose_protocol

SIZE, PEOPLE, PICTURES = 32, 8, 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """People whose pictures are a pattern of their own with a little noise."""
    top = tmp_path_factory.mktemp("people")
    random = np.random.default_rng(0)
    for who in range(PEOPLE):
        (top / "photos" / f"{who}").mkdir(parents=True)
        pattern = random.integers(20, 236, (SIZE, SIZE, 3))
        for number in range(PICTURES):
            picture = pattern + random.integers(-15, 16, pattern.shape)
            path = top / "photos" / f"{who}" / f"{number}.png"
            Image.fromarray(picture.astype(np.uint8)).save(path)
    return prepare_folder(top / "photos", top / "data", size=SIZE, num_workers=1)


@pytest.fixture(scope="module")
def data(dataset):
    arguments = arguments_of(data=str(dataset))
    assert choose_protocol(arguments) is pairs
    return pairs.prepare(arguments, SIZE)


def metrics_of(data, subject):
    return pairs.evaluate(data, subject, PIXELS).metrics()


def test_pairs_are_of_different_people_and_everybody_takes_turns(data):
    assert data.facts["pairs"] == PEOPLE * PICTURES == len(data.target)
    assert len(np.unique(data.target.reshape(len(data.target), -1), axis=0)) == len(data.target)
    assert set(data.people) == set(range(PEOPLE))
    by_name = np.array([int(name.split("/")[0]) for name in data.names])
    assert (data.people[data.source] != by_name).all()
    turns = np.bincount(data.people[data.source])
    assert turns.min() >= PICTURES - 1
    assert turns.max() <= PICTURES + 1


def test_copying_the_source_is_retrieved_but_reconstructs_too(data):
    metrics = metrics_of(data, COPY_SOURCE)
    assert metrics["id_retrieval_top1"] == metrics["id_retrieval_top5"] == 1
    assert metrics["swap_nearer_source"] == 1
    assert metrics["id_cosine_source"] == pytest.approx(1)
    assert metrics["reconstruction_error"] == 0
    assert metrics["frechet_distance"] > 1e-3


def test_copying_the_target_reconstructs_and_is_retrieved_at_chance(data):
    metrics = metrics_of(data, COPY_TARGET)
    assert metrics["reconstruction_error"] == 0
    assert metrics["reconstruction_psnr"] == 100
    assert (
        metrics["id_retrieval_top1"] <= data.facts["chance_top1"] == pytest.approx(1 / 8, abs=0.05)
    )
    assert metrics["id_retrieval_top1"] == metrics["copy_target_retrieval_top1"]
    assert metrics["swap_nearer_source"] == 0
    assert metrics["frechet_distance"] == pytest.approx(0, abs=1e-6)
    assert metrics["kernel_distance"] == pytest.approx(0, abs=1e-9)


def test_an_answer_that_is_right_every_other_time(data):
    turn = np.arange(len(data.target))[:, None, None, None] % 2

    findings = pairs.evaluate(
        data, make_subject(lambda s, t: np.where(turn == 0, s, 255 - s).astype(np.uint8)), PIXELS
    )
    assert findings.metrics()["id_retrieval_top1"] == 0.5
    low, high = findings.intervals()["id_retrieval_top1"]
    assert 0.2 < low < 0.5 < high < 0.8
    likeness = findings.breakdowns[0].series["swap"]
    assert [found.count for found in likeness] == [8, 8, 8]
    assert sum(found.mean * found.count for found in likeness) == pytest.approx(12)


def test_distances_between_sets_do_not_reward_a_copied_target():
    """Each swap leans to its own target, and their distributions are equal: no distance."""
    random = np.random.default_rng(0)
    real, noise = random.normal(0, 1, (2, 200, 16))
    totals = pairs.set_distances(real, 0.9 * real + np.sqrt(1 - 0.9**2) * noise)
    low, high = jackknife_interval(totals["kernel_distance"].value, totals["kernel_distance"].left)
    assert low < 0 < high
    totals = pairs.set_distances(real, real + 1)
    low, high = jackknife_interval(totals["kernel_distance"].value, totals["kernel_distance"].left)
    assert 0 < low < high


def test_features_of_a_named_network(dataset, tmp_path):
    path = save_mean_colour(tmp_path / "mean.onnx", ("B", 3, SIZE, SIZE))
    arguments = arguments_of(data=str(dataset), features=path, features_range="bytes", pairs=20)
    choose_protocol(arguments)
    data = pairs.prepare(arguments, SIZE)
    brighter = make_subject(lambda source, target: (target // 2 + 100).astype(np.uint8))
    means, others = (p.mean((1, 2)) for p in (data.target, data.target // 2 + 100))
    expected = pairs.frechet_distance(means, others)
    metrics = metrics_of(data, brighter)
    assert metrics["frechet_distance"] == pytest.approx(expected, rel=1e-3)
    assert data.facts["features"] == path


def test_unknown_people_are_one_each():
    np.testing.assert_array_equal(
        pairs.known_or_alone(np.array([-1, 3, 3, -1, 0])), [4, 3, 3, 5, 0]
    )


def test_pictures_that_make_no_pairs_are_refused(dataset, tmp_path):
    for people in ([0, 0, 0, 0, 0], [0, 1], []):
        with pytest.raises(UserError, match=r"data has \d pictures of \d people"):
            pairs.choose_pairs(np.array(people, np.int64), 10, "data")
    with pytest.raises(UserError, match="prepare it again with --size 64"):
        pairs.prepare(arguments_of(data=str(dataset), pairs=10), 64)
    with pytest.raises(UserError, match="not a prepared dataset"):
        pairs.prepare(arguments_of(data=str(tmp_path), pairs=10), SIZE)


def test_embedded_faces_are_also_sorted_by_their_attributes(tmp_path):
    prepare_embedded(
        tmp_path / "faces", num_identities=4, pictures_per_identity=3, size=SIZE,
        occluder_share=0.5, num_workers=1,
    )  # fmt: skip
    arguments = arguments_of(data=str(tmp_path / "faces"))
    choose_protocol(arguments)
    data = pairs.prepare(arguments, SIZE)
    findings = pairs.evaluate(data, COPY_TARGET, PIXELS)
    by_attribute = {b.attribute: b for b in findings.breakdowns}
    assert len(by_attribute) == 4
    for breakdown in by_attribute.values():
        assert sum(found.count for found in breakdown.series["swap"]) == 12
    kinds = [b.name for b in by_attribute["what is in front of the face"].series["swap"]]
    assert "none" in kinds
    assert len(kinds) > 1
