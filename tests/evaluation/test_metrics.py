import numpy as np

from faceshifter_jax.evaluation.metrics import masked_error, nearer_source, psnr, retrieval_top1


def test_psnr_by_hand():
    truth = np.full((4, 2, 2, 3), 100, np.uint8)
    picture = truth.copy()
    picture[0] += 51  # a fifth of 255: 10 log10(25)
    picture[1, 0, 0, 0] -= 60  # squared and spread over 12 values: 300
    picture[2] = 0
    expected = [13.9794, 23.3596, 8.1308, np.inf]
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
    np.testing.assert_array_equal(
        retrieval_top1(queries, gallery, np.array([0, 0, 2, 1])), [True, False, True, True]
    )


def test_masked_error_is_a_weighted_mean_of_grey_levels():
    truth = np.full((3, 2, 2, 3), 100, np.uint8)
    picture = truth.copy()
    picture[0, 0, 0] = [90, 110, 130]
    picture[1, 1, 1] = 255
    mask = np.zeros((3, 2, 2), np.float32)
    mask[0, 0] = [1, 0.5]
    mask[1, 0] = 1
    error = masked_error(picture, truth, mask)
    np.testing.assert_allclose(error[:2], [50 / 3 / 1.5, 0])
    assert np.isnan(error[2])
