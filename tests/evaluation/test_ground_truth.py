"""Pairs whose right answer is known, and what the lazy answers to them score."""

from collections import Counter

import numpy as np
import pytest

from faceshifter_jax.data.embedded import plan_embedded
from faceshifter_jax.data.seeds import attribute_seed, identity_seed
from faceshifter_jax.evaluation.findings import finite_mean
from faceshifter_jax.evaluation.model import Swaps
from faceshifter_jax.evaluation.protocols.ground_truth import (
    HELD_OUT_SEED,
    render_ground_truth,
    score,
    score_occluded,
    score_second_sources,
)
from faceshifter_jax.synthetic import OCCLUDERS, render, sample_attributes, sample_identity

SIZE, PAIRS, PEOPLE = 32, 12, 4


@pytest.fixture(scope="module")
def truth():
    return render_ground_truth(SIZE, num_pairs=PAIRS, num_identities=PEOPLE)


@pytest.fixture(scope="module")
def scenes():
    """(identity, picture) -> the identity and the attributes of a held-out picture."""
    return {
        (who, picture): (
            sample_identity(identity_seed(HELD_OUT_SEED, who)),
            sample_attributes(attribute_seed(HELD_OUT_SEED, who, picture), occluder="none"),
        )
        for who in range(PEOPLE)
        for picture in range(5)
    }


@pytest.fixture(scope="module")
def targets(truth, scenes):
    """Of each pair, the only (identity, picture) whose rendering is the target."""
    renders = {key: render(*scene, SIZE) for key, scene in scenes.items()}
    found = []
    for target in truth.target:
        (key,) = [key for key, image in renders.items() if np.array_equal(image, target)]
        found.append(key)
    return found


def test_the_gallery_has_one_picture_of_each_identity(truth, scenes):
    assert truth.gallery.shape == (PEOPLE, SIZE, SIZE, 3)
    for who, picture in enumerate(truth.gallery):
        np.testing.assert_array_equal(picture, render(*scenes[who, 0], SIZE))


def test_answers_are_the_sources_identity_with_the_targets_attributes(truth, scenes, targets):
    for source, target, answer in zip(truth.source, targets, truth.answer, strict=True):
        identity, attributes = scenes[source, 0][0], scenes[target][1]
        np.testing.assert_array_equal(answer, render(identity, attributes, SIZE))


def test_everybody_is_equally_often_source_and_target_and_never_both(truth, targets):
    people = [who for who, _ in targets]
    even = dict.fromkeys(range(PEOPLE), PAIRS // PEOPLE)
    assert Counter(truth.source.tolist()) == even
    assert Counter(people) == even
    pairs = list(zip(truth.source.tolist(), people, strict=True))
    assert all(source != target for source, target in pairs)
    assert len(set(pairs)) == PAIRS
    assert all(picture != 0 for _, picture in targets), "a target is no picture of the gallery"


def test_no_dataset_holds_these_people():
    held_out = {identity_seed(HELD_OUT_SEED, who) for who in range(100)}
    assert len(held_out) == 100
    assert HELD_OUT_SEED > 2**32, "datasets are rendered from small seeds"
    for seed in range(10):
        plan = plan_embedded(num_identities=1000, pictures_per_identity=1, seed=seed)
        assert held_out.isdisjoint(picture.identity_seed for picture in plan)


def embed(pictures):
    """The pixels themselves as a judge."""
    flat = pictures.reshape(len(pictures), -1) - 127.5
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def means_of(truth, swaps):
    return {name: finite_mean(values) for name, values in score(truth, swaps, embed).items()}


def test_the_right_answer_is_perfect(truth):
    metrics = means_of(truth, truth.answer)
    assert metrics["psnr_swap"] == metrics["face_psnr_swap"] == 100
    assert metrics["ssim_swap"] == metrics["face_ssim_swap"] == pytest.approx(1)
    assert metrics["ms_distance_swap"] == pytest.approx(0, abs=1e-9)
    assert metrics["swap_nearer_source"] == metrics["answer_nearer_source"]
    assert metrics["id_retrieval_top1"] == metrics["answer_retrieval_top1"]


def test_copying_the_target_is_the_lazy_answer(truth):
    metrics = means_of(truth, truth.target)
    for name in ("psnr", "ssim", "ms_distance", "face_psnr", "face_ssim", "face_ms_distance"):
        assert metrics[f"{name}_swap"] == metrics[f"{name}_copy_target"]
    assert metrics["psnr_swap"] < 100
    assert metrics["swap_nearer_source"] == 0
    assert metrics["id_cosine_target"] == pytest.approx(1)
    assert metrics["id_retrieval_top1"] == metrics["copy_target_retrieval_top1"]


def test_copying_the_source_is_recognised_but_far_from_the_answer(truth):
    metrics = means_of(truth, truth.sources())
    assert metrics["psnr_swap"] == metrics["psnr_copy_source"] < metrics["psnr_copy_target"]
    assert metrics["ms_distance_swap"] > metrics["ms_distance_copy_target"]
    assert metrics["swap_nearer_source"] == 1
    assert metrics["id_retrieval_top1"] == metrics["copy_source_retrieval_top1"] == 1


def test_what_is_wrong_outside_the_face_is_not_counted_inside(truth):
    outside = np.where(truth.face[..., None] == 0, 255 - truth.answer, truth.answer)
    metrics = means_of(truth, outside.astype(np.uint8))
    assert metrics["psnr_swap"] < 20
    assert metrics["face_psnr_swap"] == 100
    assert 0.2 < truth.face.mean() < 0.8


def test_gains_are_over_copying_the_target(truth):
    """Half of the way from the target to the right answer: 6 dB nearer, wherever one looks."""
    middle = (truth.target.astype(np.float64) + truth.answer) / 2
    metrics = means_of(truth, np.rint(middle).astype(np.uint8))
    assert metrics["face_psnr_gain"] == pytest.approx(6.02, abs=0.1)
    assert metrics["differ_psnr_gain"] == pytest.approx(6.02, abs=0.1)
    copied = means_of(truth, truth.target)
    assert copied["face_psnr_gain"] == copied["differ_psnr_gain"] == 0
    assert copied["differ_psnr_swap"] == copied["differ_psnr_copy_target"]
    # Only where the two differ, the copy is worse off than inside the whole face.
    assert copied["differ_psnr_copy_target"] < copied["face_psnr_copy_target"] - 2
    assert means_of(truth, truth.answer)["differ_psnr_swap"] == 100


def test_where_people_differ_is_more_than_16_grey_levels_apart(truth):
    apart = np.abs(truth.answer.astype(float) - truth.target).mean(-1, keepdims=True)
    changed = np.where(apart > 16, truth.answer, 0).astype(np.uint8)
    values = score(truth, changed, embed)
    assert (values["differ_psnr_swap"] == 100).all()
    changed = np.where(apart <= 16, truth.answer, truth.target).astype(np.uint8)
    values = score(truth, changed, embed)
    np.testing.assert_array_equal(values["differ_psnr_gain"], 0)


def test_second_answers_show_a_third_person_in_the_same_scene(truth, scenes, targets):
    for first, second, target, answer in zip(
        truth.source, truth.second_source, targets, truth.second_answer, strict=True
    ):
        assert len({first, second, target[0]}) == 3
        identity, attributes = scenes[second, 0][0], scenes[target][1]
        np.testing.assert_array_equal(answer, render(identity, attributes, SIZE))
    two = render_ground_truth(SIZE, num_pairs=2, num_identities=2)
    assert (two.second_source != two.source).all()
    np.testing.assert_array_equal(two.second_answer, two.target)


def test_how_much_another_identity_moves_the_picture(truth):
    right = score_second_sources(truth, truth.answer, truth.second_answer)
    np.testing.assert_array_equal(right["identity_change_swap"], right["identity_change_answer"])
    assert right["identity_change_answer"].min() > 3
    copied = score_second_sources(truth, truth.target, truth.target)
    np.testing.assert_array_equal(copied["identity_change_swap"], 0)
    brighter = np.minimum(truth.answer, 250) + 5
    moved = score_second_sources(truth, np.minimum(truth.answer, 250), brighter)
    np.testing.assert_allclose(moved["identity_change_swap"], 5)


def test_the_judges_cosine_to_the_right_answer(truth):
    metrics = means_of(truth, truth.answer)
    assert metrics["answer_cosine_swap"] == pytest.approx(1)
    two_pictures = np.sum(embed(truth.sources()) * embed(truth.answer), -1).mean()
    assert metrics["answer_cosine_copy_source"] == pytest.approx(two_pictures)
    assert metrics["answer_cosine_copy_target"] < 1


def test_occluded_pairs_have_the_exact_cover_and_every_kind():
    pairs = 2 * len(OCCLUDERS)
    occluded = render_ground_truth(SIZE, num_pairs=pairs, num_identities=PEOPLE, occluders=True)
    assert occluded.occluder.shape == (pairs, SIZE, SIZE)
    covered = occluded.occluder.reshape(pairs, -1).max(1) > 0.9
    assert covered.mean() > 0.8, "a shape may lie outside the picture, most may not"
    # What is in front of the face is the same whoever is behind it.
    for target, answer, cover in zip(
        occluded.target, occluded.answer, occluded.occluder, strict=True
    ):
        np.testing.assert_array_equal(target[cover == 1], answer[cover == 1])
    clean = render_ground_truth(SIZE, num_pairs=pairs, num_identities=PEOPLE)
    np.testing.assert_array_equal(clean.gallery, occluded.gallery)
    assert (clean.occluder == 0).all()


def test_stages_are_scored_inside_the_occluder():
    truth = render_ground_truth(SIZE, num_pairs=8, num_identities=PEOPLE, occluders=True)

    def means(first, second):
        values = score_occluded(truth, Swaps(first, second), lambda x: np.ones((len(x), 1)))
        return {name: finite_mean(column) for name, column in values.items()}

    broken = np.where(truth.occluder[..., None] > 0, 255 - truth.answer, truth.answer)
    metrics = means(broken, truth.answer)
    assert metrics["occluder_error_hear"] == 0
    assert metrics["occluder_psnr_hear"] == 100
    assert metrics["occluder_error_aei"] > 20
    assert metrics["occluder_ssim_aei"] < 0.5 < metrics["occluder_ssim_hear"]
    assert metrics["id_cosine_aei"] == metrics["id_cosine_hear"] == 1
    outside = np.where(truth.occluder[..., None] == 0, 0, truth.answer).astype(np.uint8)
    metrics = means(outside, outside)
    assert metrics["occluder_error_aei"] == 0
    assert not [name for name in metrics if name.endswith("_hear")], "there is one stage"
