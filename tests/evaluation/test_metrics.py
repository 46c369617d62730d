import numpy as np
import pytest
import scipy.linalg
from skimage.measure import block_reduce
from skimage.metrics import structural_similarity as skimage_ssim

from faceshifter_jax.evaluation.metrics import (
    frechet_distance,
    kernel_distance,
    mean_error,
    nearer_source,
    psnr,
    retrieval,
    structural_similarity,
)


def test_psnr_by_hand():
    truth = np.full((4, 2, 2, 3), 100, np.uint8)
    picture = truth.copy()
    picture[0] += 51  # a fifth of 255: 10 log10(25)
    picture[1, 0, 0, 0] -= 60  # squared and spread over 12 values: 300
    picture[2] = 0
    expected = [13.9794, 23.3596, 8.1308, 100]  # infinite, were it not for the ceiling
    np.testing.assert_allclose(psnr(picture, truth), expected, atol=1e-4)
    np.testing.assert_allclose(psnr(truth, picture), expected, atol=1e-4)


def test_nearer_source_by_hand():
    source = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    target = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    swap = np.array([[0.8, 0.6], [0.6, 0.8], [0.6, -0.8]])
    np.testing.assert_array_equal(nearer_source(swap, source, target), [True, False, True])
    np.testing.assert_array_equal(nearer_source(swap, source, source), [False] * 3)


def test_retrieval_by_hand():
    gallery = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    queries = np.array([[0.8, 0.6], [0.6, 0.8], [-0.8, 0.6], [-0.6, 0.8]])
    right = np.array([0, 0, 2, 1])[:, None] == np.arange(3)
    np.testing.assert_array_equal(retrieval(queries, gallery, right), [True, False, True, True])
    np.testing.assert_array_equal(retrieval(queries, gallery, right, 2), [True] * 4)
    right[3] = [True, False, True]
    np.testing.assert_array_equal(retrieval(queries, gallery, right)[3], False)
    assert retrieval(queries, gallery, right, 9).all(), "more than there are: all of them"


def test_psnr_inside_a_mask_sees_nothing_else():
    truth = np.full((2, 2, 2, 3), 100, np.uint8)
    picture = truth.copy()
    picture[0, 0, 0], picture[0, 1, 1] = 151, 0
    mask = np.zeros((2, 2, 2))
    mask[0, 0, 0] = 0.5
    masked = psnr(picture, truth, mask)
    assert masked[0] == pytest.approx(13.9794, abs=1e-4)
    assert np.isnan(masked[1])


def similar_pictures(number, height, width):
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (number, -(-height // 8), -(-width // 8), 3))
    first = coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    second = 0.7 * first + 30 + random.normal(0, 12, first.shape)
    return first.astype(np.uint8), np.clip(second, 0, 255).astype(np.uint8)


def by_skimage(first, second, **settings):
    return skimage_ssim(
        *(first, second),
        data_range=255,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        **settings,
    )


def test_ssim_is_that_of_scikit_image():
    first, second = similar_pictures(3, 40, 53)
    expected = [by_skimage(*pair) for pair in zip(first, second, strict=True)]
    np.testing.assert_allclose(structural_similarity(first, second)[0], expected, atol=1e-10)
    assert 0.2 < np.mean(expected) < 0.9
    ssim, distance = structural_similarity(first, first)
    np.testing.assert_allclose(ssim, 1)
    np.testing.assert_allclose(distance, 0, atol=1e-12)


def test_ssim_in_a_mask_is_the_mean_of_scikit_images_map():
    first, second = similar_pictures(2, 32, 32)
    mask = np.random.default_rng(1).uniform(0, 1, (2, 32, 32))
    mask[1] = 0
    _, map_of_first = by_skimage(first[0], second[0], full=True)
    inside = (slice(5, -5), slice(5, -5))
    expected = np.average(map_of_first[inside].mean(-1), weights=mask[0][inside])
    ssim, distance = structural_similarity(first, second, mask)
    assert ssim[0] == pytest.approx(expected, abs=1e-10)
    assert np.isnan(ssim[1])
    assert np.isnan(distance[1])
    everywhere = np.ones((2, 32, 32))
    for a, b in zip(
        structural_similarity(first, second, everywhere),
        structural_similarity(first, second),
        strict=True,
    ):
        np.testing.assert_allclose(a, b)


@pytest.mark.parametrize(("size", "scales"), [(16, 1), (22, 2), (64, 3), (176, 5)])
def test_multi_scale_distance_is_put_together_from_scikit_images_parts(size, scales):
    """With a huge K1 luminance counts for nothing: what is left is contrast and structure."""
    (first,), (second,) = similar_pictures(1, size, size)
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    weights = weights / weights.sum()
    x, y = first.astype(float), second.astype(float)
    product = np.ones(3)
    for scale, weight in enumerate(weights):
        last = scale == scales - 1
        parts = [by_skimage(x[..., [c]], y[..., [c]], K1=0.01 if last else 1e6) for c in range(3)]
        product *= np.array(parts) ** weight
        x, y = (block_reduce(a, (2, 2, 1), np.mean) for a in (x, y))
    _, distance = structural_similarity(first[None], second[None])
    assert distance[0] == pytest.approx(1 - product.mean(), abs=1e-8)


def test_frechet_distance_is_the_formula_with_scipys_root():
    random = np.random.default_rng(0)
    first = random.normal(0, 1, (60, 5)) @ random.normal(0, 1, (5, 5))
    second = random.normal(0.5, 2, (40, 5))
    covariances = [np.cov(a, rowvar=False) for a in (first, second)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(first.mean(0) - second.mean(0)).sum() + np.trace(
        covariances[0] + covariances[1] - 2 * root
    )
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    # One dimension by hand: means 1 and 5, deviations 1 and 3 (unbiased).
    one, other = np.array([[0.0], [1], [2]]), np.array([[2.0], [5], [8]])
    assert frechet_distance(one, other) == pytest.approx(16 + (3 - 1) ** 2)
    fewer = random.normal(0, 1, (4, 9)), random.normal(0, 1, (6, 9))
    covariances = [np.cov(a, rowvar=False) for a in fewer]
    product = scipy.linalg.eigvals(covariances[0] @ covariances[1]).real
    expected = np.square(fewer[0].mean(0) - fewer[1].mean(0)).sum() + sum(
        map(np.trace, covariances)
    )
    expected -= 2 * np.sqrt(np.maximum(product, 0)).sum()
    assert frechet_distance(*fewer) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_is_the_unbiased_sum_over_pairs():
    first, second = np.array([[1.0, 0], [0, 2], [1, 1]]), np.array([[2.0, 0], [0, 0]])

    def kernel(x, y):
        return (x @ y / 2 + 1) ** 3

    def within(a):
        pairs = [kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j]
        return np.mean(pairs)

    between = np.mean([kernel(x, y) for x in first for y in second])
    expected = within(first) + within(second) - 2 * between
    assert kernel_distance(first, second) == pytest.approx(expected)
    random = np.random.default_rng(0)
    same = [kernel_distance(*random.normal(0, 1, (2, 30, 4))) for _ in range(200)]
    error = np.std(same) / np.sqrt(len(same))
    assert abs(np.mean(same)) < 4 * error, "no bias, where both come from one distribution"


def test_kernel_distance_of_pairs_by_hand():
    """One number a row, so that the kernel is (x y + 1)^3."""
    first, second = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    # 1 between 0 and 1; 27 between 1 and 2; 1 between 0 and 2, 8 between 1 and 1, each once.
    assert kernel_distance(first, second, paired=True) == 1 + 27 - (1 + 8)
    # With what belongs together, 0 to 1 and 1 to 2: 1 and 27.
    assert kernel_distance(first, second) == 1 + 27 - 2 * (1 + 8 + 1 + 27) / 4


def test_kernel_distance_of_pairs_leaves_out_what_belongs_together():
    random = np.random.default_rng(0)
    found = []
    for _ in range(200):
        first = random.normal(0, 1, (30, 4))
        other = 0.9 * first + np.sqrt(1 - 0.81) * random.normal(0, 1, (30, 4))
        found.append([kernel_distance(first, other, paired=paired) for paired in (True, False)])
    means, errors = np.mean(found, 0), np.std(found, 0) / np.sqrt(len(found))
    assert abs(means[0]) < 4 * errors[0], "both are of one distribution"
    assert means[1] < -4 * errors[1], "alike pairs look nearer than equal distributions"
    assert kernel_distance(first, first, paired=True) == pytest.approx(0, abs=1e-9)


def test_mean_error_is_a_weighted_mean_of_grey_levels():
    truth = np.full((3, 2, 2, 3), 100, np.uint8)
    picture = truth.copy()
    picture[0, 0, 0] = [90, 110, 130]
    picture[1, 1, 1] = 255
    mask = np.zeros((3, 2, 2), np.float32)
    mask[0, 0] = [1, 0.5]
    mask[1, 0] = 1
    error = mean_error(picture, truth, mask)
    np.testing.assert_allclose(error[:2], [50 / 3 / 1.5, 0])
    assert np.isnan(error[2])
