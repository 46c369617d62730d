import numpy as np
import pytest

from faceshifter_jax import synthetic
from faceshifter_jax.data import PreparedDataset, build_loader, prepare_embedded
from faceshifter_jax.data.embedded import plan_embedded
from faceshifter_jax.data.seeds import draw_occluder
from faceshifter_jax.errors import UserError

SIZE = 32


def prepare(out, num_workers=1, **arguments):
    numbers = {"num_identities": 6, "pictures_per_identity": 3, "size": SIZE, "seed": 4}
    return prepare_embedded(out, num_workers=num_workers, **(numbers | arguments))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("embedded") / "data")


def test_contents(path):
    dataset = PreparedDataset(path)
    assert (dataset.num_pictures, dataset.num_identities) == (18, 6)
    np.testing.assert_array_equal(dataset.identities, np.repeat(np.arange(6), 3))
    record = dataset.record(4)
    assert record["identity"] == 1
    assert record["name"] == f"{record['identity_seed']}/{record['attribute_seed']}"
    assert dataset.picture(4).shape == (SIZE, SIZE, 3)
    assert dataset.metadata["seed"] == 4


def test_pictures_can_be_rendered_again_from_their_records(path):
    dataset = PreparedDataset(path)
    for index in (0, 7, 17):
        identity, attributes = dataset.scene(index)
        again = synthetic.render(identity, attributes, SIZE)
        np.testing.assert_array_equal(again, dataset.picture(index))


def test_seeds_are_shared_within_an_identity_only(path):
    dataset = PreparedDataset(path)
    records = [dataset.record(index) for index in range(18)]
    assert len({record["attribute_seed"] for record in records}) == 18
    assert len({(r["identity"], r["identity_seed"]) for r in records}) == 6
    assert len({record["identity_seed"] for record in records}) == 6


def test_one_worker_and_two_write_the_same_bytes(path, tmp_path):
    two = prepare(tmp_path / "two", num_workers=2)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {
        file.name: file.read_bytes() for file in two.iterdir()
    }


def test_datasets_with_other_seeds_share_nobody():
    seen = set()
    for seed in range(40):
        plan = plan_embedded(num_identities=50, pictures_per_identity=2, seed=seed)
        seeds = {p.identity_seed for p in plan} | {p.attribute_seed for p in plan}
        assert len(seeds) == 50 + 100
        assert not seeds & seen
        assert all(0 <= seed < 2**63 for seed in seeds)
        seen |= seeds


def test_a_larger_dataset_begins_with_the_smaller_one():
    small = plan_embedded(num_identities=3, pictures_per_identity=2, seed=1)
    large = plan_embedded(num_identities=5, pictures_per_identity=4, seed=1)
    assert set(small) < set(large)


def test_occluders_come_in_their_share_and_all_kinds():
    kinds = ("a", "b", "c")
    drawn = [draw_occluder(seed, 0.3, kinds) for seed in range(3000)]
    for kind, share in {"none": 0.7, "a": 0.1, "b": 0.1, "c": 0.1}.items():
        assert drawn.count(kind) / 3000 == pytest.approx(share, abs=0.03)
    assert {draw_occluder(seed, 0, kinds) for seed in range(300)} == {"none"}
    assert "none" not in {draw_occluder(seed, 1, kinds) for seed in range(300)}


@pytest.mark.parametrize(("share", "covered"), [(0.0, False), (1.0, True)])
def test_the_share_reaches_the_pictures(tmp_path, share, covered):
    out = prepare(tmp_path / "out", occluder_share=share, num_identities=2)
    dataset = PreparedDataset(out)
    for index in range(len(dataset)):
        identity, attributes = dataset.scene(index)
        mask = synthetic.render_layers(identity, attributes, SIZE).occluder_mask
        assert bool(mask.any()) <= covered
    assert (dataset.scene(0)[1] != without_occluder(dataset, 0)) == covered


def without_occluder(dataset, index):
    seed = dataset.record(index)["attribute_seed"]
    return synthetic.sample_attributes(seed, occluder="none")


def test_a_loader_reads_it(path):
    settings = {"path": str(path), "same_picture_share": 0.2, "same_identity_share": 0.3}
    loader = build_loader("pairs", settings, seed=0, batch_size=4, image_size=SIZE)
    assert next(loader)["source"].shape == (4, SIZE, SIZE, 3)
    loader.close()


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_identities": 0},
        {"pictures_per_identity": 0},
        {"size": 2},
        {"seed": -1},
        {"occluder_share": 1.5},
        {"num_workers": 0},
    ],
)
def test_senseless_numbers_are_refused(tmp_path, arguments):
    with pytest.raises(UserError, match="must"):
        prepare(tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())
