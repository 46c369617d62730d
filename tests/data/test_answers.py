"""Right answers: datasets rendered in groups, and the answers in the batches of a loader."""

import numpy as np
import pytest

from faceshifter_jax import synthetic
from faceshifter_jax.data import PreparedDataset, build_loader, prepare_embedded
from faceshifter_jax.data.augment import apply_change, draw_change
from faceshifter_jax.errors import UserError

SIZE, PEOPLE, GROUP, PICTURES = 32, 6, 3, 4


def render(out, num_workers=1, **arguments):
    numbers = {"num_identities": PEOPLE, "pictures_per_identity": PICTURES, "group_size": GROUP}
    numbers |= {"size": SIZE, "seed": 4, "occluder_share": 0.5}
    return prepare_embedded(out, num_workers=num_workers, **(numbers | arguments))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return render(tmp_path_factory.mktemp("groups") / "data")


@pytest.fixture(scope="module")
def dataset(path):
    return PreparedDataset(path)


def load(path, num_batches, batch_size=8, first_step=0, process=(0, 1), **settings):
    """The rows of the first batches of a loader, as one array each."""
    loader = build_loader(
        "pairs",
        {"path": str(path), "answer_share": 1.0} | settings,
        seed=3,
        batch_size=batch_size,
        image_size=SIZE,
        first_step=first_step,
        process_index=process[0],
        process_count=process[1],
    )
    batches = [next(loader) for _ in range(num_batches)]
    loader.close()
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def rows_of(batch):
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]


def index_of(dataset, picture):
    """Which picture of the dataset it is."""
    (found,) = [i for i in range(len(dataset)) if np.array_equal(dataset.picture(i), picture)]
    return found


def test_people_of_a_group_share_attributes_and_nobody_else_does(dataset):
    records = [dataset.record(index) for index in range(len(dataset))]
    people = [records[who * PICTURES : (who + 1) * PICTURES] for who in range(PEOPLE)]
    attributes = [[record["attribute_seed"] for record in person] for person in people]
    assert attributes[0] == attributes[1] == attributes[2]
    assert attributes[3] == attributes[4] == attributes[5]
    assert len({*attributes[0], *attributes[3]}) == 2 * PICTURES
    assert len({record["identity_seed"] for record in records}) == PEOPLE
    np.testing.assert_array_equal(dataset.identities, np.repeat(np.arange(PEOPLE), PICTURES))
    # What covers the face is among the attributes.
    kinds = [[dataset.scene(i)[1].occluder.kind for i in range(k, k + 4)] for k in (0, 4, 8)]
    assert kinds[0] == kinds[1] == kinds[2]


def test_groups_of_one_are_the_dataset_of_before(tmp_path):
    out = render(
        tmp_path / "out",
        group_size=1,
        pictures_per_identity=3,
        occluder_share=0.25,
    )
    dataset = PreparedDataset(out)
    assert dataset.answers is None
    # As rendered before there were groups.
    assert dataset.fingerprint == (
        "e99f58c02db5e4323699da86048dbfb238144429970bcae759440a9d7ce31cf1"
    )
    assert dataset.record(7)["name"] == "6800814470574874934/3968177804792856363"


def test_pictures_rendered_together_are_those_rendered_alone(dataset):
    order = np.random.default_rng(1).permutation(len(dataset))
    for index in order:
        alone = synthetic.render(*dataset.scene(index), SIZE)
        np.testing.assert_array_equal(dataset.picture(index), alone)


def test_workers_change_nothing(tmp_path):
    numbers = {"num_identities": 12, "pictures_per_identity": 5}
    one, two = (
        PreparedDataset(render(tmp_path / str(workers), workers, **numbers)) for workers in (1, 2)
    )
    assert one.fingerprint == two.fingerprint
    for index in range(60):
        assert one.record(index) == two.record(index)


def test_the_summary_names_the_groups(dataset):
    assert "in groups of 3 under the same attributes" in dataset.summary()


def test_answers_are_renderings_of_the_sources_identity_under_the_targets_attributes(path, dataset):
    rows = rows_of(load(path, 6, same_picture_share=0.25, same_identity_share=0.25))
    answered = [row for row in rows if row["answered"]]
    assert len(answered) > 10
    for row in answered:
        source, target = (index_of(dataset, row[name]) for name in ("source", "target"))
        identity, source_attributes = dataset.scene(source)
        target_identity, attributes = dataset.scene(target)
        assert identity != target_identity
        assert source_attributes != attributes
        assert not row["same"]
        answer = synthetic.render(identity, attributes, SIZE)
        np.testing.assert_array_equal(row["answer"], answer)


def test_rows_without_an_answer_have_the_target_in_its_place(path):
    settings = {"same_picture_share": 0.3, "same_identity_share": 0.3, "answer_share": 0.5}
    rows = rows_of(load(path, 12, occlusion_share=0.5, **settings))
    others = [row for row in rows if not row["answered"]]
    assert any(row["same"] for row in others)
    assert any(not row["same"] for row in others)
    for row in others:
        np.testing.assert_array_equal(row["answer"], row["target"])


@pytest.mark.parametrize("reconstruct", [False, True])
def test_shares_are_what_was_asked_for(path, dataset, reconstruct):
    settings = {"same_picture_share": 0.2, "same_identity_share": 0.3, "answer_share": 0.6}
    rows = load(path, 150, reconstruct_same_identity=reconstruct, **settings)
    assert rows["answered"].dtype == np.float32
    assert rows["answered"].mean() == pytest.approx(0.5 * 0.6, abs=0.04)
    assert rows["same"].mean() == pytest.approx(0.5 if reconstruct else 0.2, abs=0.04)
    assert not (rows["same"] * rows["answered"]).any()


def test_sources_are_drawn_evenly_from_the_other_people_of_the_group(dataset):
    rng = np.random.default_rng(0)
    for target in (0, 7, 23):
        who, how = divmod(target, PICTURES)
        chosen = [dataset.answers.choose(target, rng) for _ in range(2400)]
        counts = np.bincount([pair.source for pair in chosen], minlength=len(dataset))
        people = {person for person in range(PEOPLE) if person // GROUP == who // GROUP} - {who}
        pictures = set(range(PICTURES)) - {how}
        allowed = [person * PICTURES + picture for person in people for picture in pictures]
        np.testing.assert_allclose(counts[allowed], 400, atol=90)
        assert counts.sum() == counts[allowed].sum()
        for source, answer in chosen:
            assert (answer // PICTURES, answer % PICTURES) == (source // PICTURES, how)


def test_without_answers_batches_are_those_of_before(path):
    before = load(path, 5, answer_share=0.0, horizontal_flip=True, colour_jitter=0.3)
    assert set(before) == {"source", "target", "same"}


def test_answers_are_mirrored_and_recoloured_as_their_targets(path, dataset):
    rows = rows_of(load(path, 10, horizontal_flip=True, colour_jitter=0.4, same_picture_share=0.0))
    plain = rows_of(load(path, 10, same_picture_share=0.0))
    mirrored = 0
    for step, (row, unchanged) in enumerate(zip(rows, plain, strict=True)):
        rng = np.random.default_rng(np.random.SeedSequence(3, spawn_key=divmod(step, 8)))
        rng.random(5)  # the pair
        change = draw_change(unchanged["target"], rng, horizontal_flip=True, colour_jitter=0.4)
        for name in ("target", "answer"):
            np.testing.assert_array_equal(row[name], apply_change(unchanged[name], change))
        of_source = draw_change(unchanged["source"], rng, horizontal_flip=True, colour_jitter=0.4)
        of_source = of_source._replace(mirrored=change.mirrored)
        np.testing.assert_array_equal(row["source"], apply_change(unchanged["source"], of_source))
        mirrored += change.mirrored
    assert 20 < mirrored < 60


def test_what_is_laid_over_a_target_is_laid_over_its_answer(path):
    plain = rows_of(load(path, 10, same_picture_share=0.0))
    rows = rows_of(load(path, 10, same_picture_share=0.0, occlusion_share=0.8))
    hidden = 0
    for row, bare in zip(rows, plain, strict=True):
        np.testing.assert_array_equal(row["source"], bare["source"])
        alpha = row["occluder"][..., None]
        for name in ("target", "answer"):
            np.testing.assert_array_equal(
                row[name][row["occluder"] == 0], bare[name][row["occluder"] == 0]
            )
        solid = row["occluder"] == 255
        np.testing.assert_array_equal(row["target"][solid], row["answer"][solid])
        # Between, the same colours are blended in with the same weights.
        added = [
            row[name] - bare[name] * (1 - alpha / np.float32(255)) for name in ("target", "answer")
        ]
        np.testing.assert_allclose(added[0], added[1], atol=1.01)
        hidden += solid.any()
    assert hidden > 40


EVERYTHING = {
    "same_picture_share": 0.2,
    "same_identity_share": 0.2,
    "answer_share": 0.7,
    "horizontal_flip": True,
    "colour_jitter": 0.3,
    "occlusion_share": 0.5,
}


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_global_batch(path, count):
    whole = load(path, 4, **EVERYTHING)
    parts = [load(path, 4, process=(index, count), **EVERYTHING) for index in range(count)]
    for name, expected in whole.items():
        steps = [part[name].reshape(4, 8 // count, *expected.shape[1:]) for part in parts]
        joined = np.concatenate(steps, axis=1).reshape(expected.shape)
        np.testing.assert_array_equal(joined, expected)


def test_any_step_can_be_the_first(path):
    whole, late = load(path, 6, **EVERYTHING), load(path, 2, first_step=4, **EVERYTHING)
    for name in whole:
        np.testing.assert_array_equal(whole[name][-16:], late[name])


def test_answers_of_a_dataset_without_any_are_refused(tmp_path):
    out = render(tmp_path / "out", group_size=1, num_identities=2, pictures_per_identity=2)
    with pytest.raises(UserError, match=r"no right answers in .*--group-size"):
        load(out, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_size": 0}, "at least 1, got 0"),
        ({"group_size": -2}, "at least 1, got -2"),
        ({"group_size": 4}, "6 people do not divide into groups of 4, 8 would"),
        ({"group_size": 7}, "groups of 7, 7 would"),
        ({"pictures_per_identity": 1}, "at least 2 for people in groups"),
    ],
)
def test_groups_that_cannot_be_are_refused(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        render(tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def load_identities(path, **settings):
    loader = build_loader(
        "identities", {"path": str(path)} | settings, seed=3, batch_size=8, image_size=SIZE
    )
    batch = next(loader)
    loader.close()
    return batch


def test_codes_are_those_of_the_people_in_the_pictures(path, dataset):
    batch = load_identities(path, identity_codes=True)
    for label, code in zip(batch["label"], batch["code"], strict=True):
        person, _ = dataset.scene(int(np.flatnonzero(dataset.identities == label)[0]))
        np.testing.assert_array_equal(code, synthetic.identity_code(person))


def test_view_seeds_change_nothing_else_and_are_a_function_of_the_row(path):
    plain = load_identities(path)
    seeded = load_identities(path, identity_views=1)
    for name, value in plain.items():
        np.testing.assert_array_equal(value, seeded[name])
    assert seeded["view_seed"].dtype == np.uint32
    assert len(set(seeded["view_seed"])) == 8
    whole = load(path, 2, identity_views=2)
    parts = [load(path, 2, identity_views=2, process=(p, 2)) for p in (0, 1)]
    later = load(path, 1, identity_views=2, first_step=1)
    np.testing.assert_array_equal(whole["view_seed"][8:], later["view_seed"])
    mixed = np.concatenate(
        [part["view_seed"][4 * i : 4 * i + 4] for i in range(2) for part in parts]
    )
    np.testing.assert_array_equal(whole["view_seed"], mixed)


def test_photographs_have_no_codes(dataset_path):
    with pytest.raises(UserError, match="only rendered faces"):
        PreparedDataset(dataset_path).identity_code(0)
