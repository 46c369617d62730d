import numpy as np
import pytest

from faceshifter_jax.data.order import visit


@pytest.mark.parametrize("num_pictures", [1, 2, 3, 7, 64, 1000])
def test_every_epoch_visits_every_picture_once(num_pictures):
    for epoch in range(3):
        positions = range(epoch * num_pictures, (epoch + 1) * num_pictures)
        visited = sorted(visit(5, position, num_pictures) for position in positions)
        assert visited == list(range(num_pictures))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [
        tuple(visit(seed, epoch * 50 + position, 50) for position in range(50))
        for seed in range(4)
        for epoch in range(4)
    ]
    assert len(set(orders)) == len(orders)


def test_orders_are_not_lopsided():
    number, epochs = 10, 2000
    counts = np.zeros((number, number))
    for epoch in range(epochs):
        for position in range(number):
            counts[position, visit(1, epoch * number + position, number)] += 1
    # Binomial with mean 200 and deviation 13.4.
    assert np.abs(counts - epochs / number).max() < 6 * 13.4


def test_far_positions_are_reached_at_once():
    assert 0 <= visit(0, 10**15, 12345) < 12345
