"""Landmarks over time: still where faces are still, and there where faces move."""

import numpy as np
import pytest
from rendered_videos import RATE

from faceshifter_jax.faces.face import Face
from faceshifter_jax.swapping.video.smoothing import smooth
from faceshifter_jax.swapping.video.tracking import Moment, Track, Tracker, group_people

SPREAD = 40.0
REACH = 0.5 * RATE


def noisy(path, deviation, seed=0):
    return path + np.random.default_rng(seed).normal(0, deviation, path.shape)


def run(path, deviation, times=None):
    times = np.arange(len(path)) if times is None else times
    return smooth(times, noisy(path, deviation), np.full(len(path), SPREAD), REACH)


def test_a_still_face_stays_still():
    path = np.full((200, 14), 100.0)
    result = run(path, 1.0)
    assert (result - path)[10:-10].std() < 0.3
    assert np.diff(result, axis=0).std() < 0.12


@pytest.mark.parametrize("period", [12, 25, 50])
def test_a_face_that_nods_is_neither_late_nor_flattened(period):
    times = np.arange(150)
    path = 100 + 30 * np.sin(2 * np.pi * times / period)[:, None] * np.ones((1, 14))
    result = run(path, 0.7)
    assert np.sqrt(np.mean((result - path) ** 2)) < 1.0
    assert np.ptp(result[50:100]) > 58


def test_a_start_is_not_smeared():
    path = np.full((80, 14), 100.0)
    path[40:] += 4.0 * np.arange(40)[:, None]
    result = run(path, 0.5)
    assert np.abs(result - path).max() < 2.5


def test_few_and_unevenly_timed_samples():
    for times in ([3], [3, 4], [0, 5, 6, 20, 21, 22, 40]):
        times = np.array(times)
        path = 10.0 + 2 * times[:, None] * np.ones((1, 14))
        result = smooth(times, path, np.full(len(times), SPREAD), REACH)
        np.testing.assert_allclose(result, path, atol=1e-6)


TEMPLATE = np.array([(-20, -20), (20, -20), (0, 0), (-15, 20), (15, 20)], np.float32)


def face_at(x, y=100.0, size=1.0):
    box = np.array([x - 40 * size, y - 50 * size, x + 40 * size, y + 50 * size], np.float32)
    return Face(TEMPLATE * size + np.array([x, y], np.float32), box, 0.99)


def moment(frame):
    return Moment(frame, frame / RATE, (frame + 1) / RATE)


def nobody(indices):
    return None


def test_tracks_end_with_a_cut_a_jump_and_a_long_absence():
    tracker = Tracker(max_gap=5 / RATE + 1e-6)
    for frame in range(10):
        tracker.follow(moment(frame), [face_at(100 + frame)], nobody)
    tracker.follow(moment(14), [face_at(112)], nobody)
    assert len(tracker.tracks) == 1
    tracker.follow(moment(15), [face_at(300)], nobody)
    assert len(tracker.tracks) == 2
    tracker.cut()
    tracker.follow(moment(16), [face_at(300)], nobody)
    assert len(tracker.tracks) == 3
    # Frames that nobody looked at say nothing; one in which the face is missing does.
    tracker.follow(moment(22), [face_at(300)], nobody)
    assert len(tracker.tracks) == 3
    tracker.follow(moment(24), [], nobody)
    tracker.follow(moment(28), [face_at(300)], nobody)
    assert len(tracker.tracks) == 4
    assert [len(track.frames) for track in tracker.tracks] == [11, 1, 2, 1]


def test_two_who_cross_are_told_apart_by_who_they_are():
    tracker = Tracker(max_gap=5 / RATE + 1e-6)
    people = np.eye(2, dtype=np.float32)
    for frame in range(21):
        places = [100 + 5 * frame, 200 - 5 * frame]
        order = (0, 1) if frame % 3 else (1, 0)
        faces = [face_at(places[person]) for person in order]
        tracker.follow(
            moment(frame), faces, lambda asked, order=order: people[[order[i] for i in asked]]
        )
    first, second = tracker.tracks
    start, stop = first.samples()[[0, -1], 4]
    assert (start, stop) in ((100, 200), (200, 100))
    assert abs(float(first.embedding @ second.embedding)) < 0.01


def test_frames_in_between_are_on_a_straight_line():
    track = Track()
    for frame in (10, 14, 15):
        track.add(moment(frame), face_at(100 + 2 * frame, size=1 + frame / 100))
    smooth_track = track.smoothed(0.5)
    assert (smooth_track.start, smooth_track.stop) == (10, 16)
    for frame in range(10, 16):
        expected = face_at(100 + 2 * frame, size=1 + frame / 100)
        found = smooth_track.face_at(moment(frame).begin)
        np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=1e-3)
        np.testing.assert_allclose(found.box, expected.box, atol=1e-3)


def test_people_are_joined_from_tracks_that_are_alike_and_never_meet():
    def track(frames, direction, size=1.0):
        result = Track()
        for frame in frames:
            result.add(moment(frame), face_at(100, size=size))
        result.add_embedding(np.array(direction, np.float32))
        return result

    a, b = track(range(10), (1, 0)), track(range(5, 15), (1, 0.1), size=0.5)
    c, d = track(range(20, 25), (0.9, 0.1)), track(range(30, 90), (0, 1))
    people = group_people([a, b, c, d], 0.5)
    assert people[0] == [d]
    assert sorted(map(len, people)) == [1, 1, 2]
    assert next(set(map(id, person)) for person in people if len(person) == 2) in (
        {id(a), id(c)},
        {id(b), id(c)},
    )
