"""Several datasets in one training run."""

import hashlib
import json
from fractions import Fraction

import numpy as np
import pytest
from small_pictures import SIZE, make_picture, save_picture

from faceshifter_jax.data import (
    PreparedDataset,
    build_loader,
    count_identities,
    prepare_embedded,
    prepare_folder,
)
from faceshifter_jax.data.order import build_mixture
from faceshifter_jax.data.sources import Source, read_sources
from faceshifter_jax.data.subset import ListedPicture, write_subset
from faceshifter_jax.errors import UserError

PEOPLE, GROUP, PICTURES = 4, 2, 3


@pytest.fixture(scope="module")
def photos_path(tmp_path_factory):
    """Seven pictures: three people with two each, one unknown; at the renderer's least size."""
    folder = tmp_path_factory.mktemp("mixed_photos")
    for number in range(7):
        where = folder if number == 6 else folder / "abc"[number // 2]
        save_picture(where / f"{number}.png", number, size=32)
    return prepare_folder(folder, folder / "out", size=32, num_workers=1)


@pytest.fixture(scope="module")
def drawn_path(tmp_path_factory):
    numbers = {"num_identities": PEOPLE, "pictures_per_identity": PICTURES, "group_size": GROUP}
    out = tmp_path_factory.mktemp("mixed_drawn") / "data"
    return prepare_embedded(out, **numbers, size=32, seed=2, num_workers=1)


def open_loader(path, kind="pairs", batch_size=10, image_size=32, **arguments):
    settings = {key: arguments.pop(key) for key in list(arguments) if key not in _OF_LOADER}
    return build_loader(
        kind,
        {"path": str(path)} | settings,
        **{"seed": 3, "batch_size": batch_size, "image_size": image_size} | arguments,
    )


_OF_LOADER = ("seed", "first_step", "process_index", "process_count")


def load(path, num_batches, **arguments):
    """The rows of the first batches, as one array each."""
    loader = open_loader(path, **arguments)
    batches = [next(loader) for _ in range(num_batches)]
    loader.close()
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


@pytest.fixture(scope="module")
def mixed(photos_path, drawn_path):
    return f"{photos_path}:0.7,{drawn_path}:0.3"


@pytest.fixture(scope="module")
def where(photos_path, drawn_path):
    """Which dataset (0: photos, 1: drawn) and picture of it a picture is."""
    known = {}
    for number, path in enumerate((photos_path, drawn_path)):
        dataset = PreparedDataset(path)
        for index in range(len(dataset)):
            known[hashlib.sha256(dataset.picture(index).tobytes()).digest()] = (number, index)
    return lambda picture: known[hashlib.sha256(picture.tobytes()).digest()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data/photos", [("data/photos", 1)]),
        ("missing,", None),
        ("a:0.7,b:0.3", [("a", Fraction(7, 10)), ("b", Fraction(3, 10))]),
        (" a : .25 , b:0.25,c:0.5", [("a", Fraction(1, 4)), ("b", Fraction(1, 4)), ("c", 0.5)]),
        ("a:1/3,b:2/3", [("a", Fraction(1, 3)), ("b", Fraction(2, 3))]),
        ("a:1", [("a", 1)]),
        ("host:8:0.5,b:0.5", [("host:8", Fraction(1, 2)), ("b", Fraction(1, 2))]),
    ],
)
def test_paths_with_shares_are_read(text, expected):
    if expected is None:
        with pytest.raises(UserError, match="no share in"):
            read_sources(text)
    else:
        assert read_sources(text) == tuple(Source(path, Fraction(s)) for path, s in expected)


def test_a_directory_is_one_whatever_its_name(tmp_path):
    path = tmp_path / "a:0.5,b:0.5"
    path.mkdir()
    assert read_sources(str(path)) == (Source(str(path), Fraction(1)),)


def test_homes_are_expanded_in_each(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert read_sources("~/a") == (Source("/home/anna/a", Fraction(1)),)
    paths = [source.path for source in read_sources("~/a:0.5, ~/b:0.5")]
    assert paths == ["/home/anna/a", "/home/anna/b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b", "no share in 'a'.* DIR:SHARE,DIR:SHARE"),
        ("a:0.7,b", "no share in 'b'"),
        ("a:0.7,b:much", "no share in 'b:much'"),
        ("a:0.7,b:-0.3", "no share in 'b:-0.3'"),
        ("a:0.7,b:1/0", "no share in 'b:1/0'"),
        ("a:0.7,b:1e99999999999", "no share in 'b:1e99999999999'"),
        ("a:0.7,b:nan", "no share in 'b:nan'"),
        ("a:0.7,,b:0.3", "no share in ''"),
        ("a:0.7,:0.3", "no directory in ':0.3'"),
        ("a:1,b:0", "no share above 0 in 'b:0'"),
        ("a:0.7,b:0.2", "sum up to 0.9, not to 1"),
        ("a:70,b:30", "sum up to 100, not to 1"),
        ("a:0.5", "sum up to 0.5, not to 1"),
        ("a:0.5,./a:0.5", "names a directory twice"),
        ("a:0.33333,b:0.66667", "at most four decimals"),
        ("a:0.7,gs://bucket/b:0.3", r"gs://bucket/b\S* is an address"),
    ],
)
def test_paths_that_make_no_sense_are_refused_in_a_line(text, message):
    with pytest.raises(UserError, match=message) as error:
        read_sources(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shares", [("0.7", "0.3"), ("1/3", "1/3", "1/3"), ("0.0125", "0.9875")])
def test_shares_hold_in_every_block_and_no_place_of_a_dataset_is_left_out(shares):
    sources = [Source(str(i), Fraction(share)) for i, share in enumerate(shares)]
    mixture = build_mixture(sources, seed=5)
    length = sum(mixture.counts)
    located = [mixture.locate(position) for position in range(6 * length)]
    for block in range(6):
        datasets = [dataset for dataset, _ in located[block * length : (block + 1) * length]]
        counts = np.bincount(datasets, minlength=len(shares))
        assert [Fraction(int(c), length) for c in counts] == [s.share for s in sources]
    for dataset in range(len(shares)):
        places = [place for which, place in located if which == dataset]
        assert places == list(range(len(places)))


def test_blocks_have_orders_of_their_own():
    mixture = build_mixture(read_sources("a:0.5,b:0.4,c:0.1"), seed=5)
    orders = {
        tuple(mixture.locate(10 * block + place)[0] for place in range(10)) for block in range(40)
    }
    assert len(orders) > 35


def test_a_far_position_is_located_at_once():
    mixture = build_mixture(read_sources("a:0.7,b:0.3"), seed=5)
    dataset, place = mixture.locate(10**15 + 3)
    assert place // (7, 3)[dataset] == 10**14


def test_pairs_are_inside_a_dataset_and_shares_are_exact(mixed, where):
    rows = load(mixed, 12, same_picture_share=0.25)
    sources, targets = ([where(p) for p in rows[name]] for name in ("source", "target"))
    assert [source[0] for source in sources] == [target[0] for target in targets]
    for step in range(12):
        assert [t[0] for t in targets[10 * step : 10 * step + 10]].count(0) == 7
    # 84 rows of 7 photographs, 36 of 12 renderings: 12 and 3 epochs.
    for number, pictures, each in ((0, 7, 12), (1, 12, 3)):
        visited = np.bincount([index for which, index in targets if which == number])
        np.testing.assert_array_equal(visited, np.full(pictures, each))


def test_the_mask_says_which_rows_have_an_answer(mixed, where, drawn_path):
    rows = load(mixed, 20, same_picture_share=0.2, answer_share=1.0)
    identities = PreparedDataset(drawn_path).identities
    for source, target, answer, answered, same in zip(
        *(rows[name] for name in ("source", "target", "answer", "answered", "same")), strict=True
    ):
        (dataset, of_target), (_, of_source) = where(target), where(source)
        assert answered == (dataset == 1 and not same)
        assert where(answer)[0] == dataset
        if answered:
            _, of_answer = where(answer)
            assert identities[of_answer] == identities[of_source]
            assert of_answer % PICTURES == of_target % PICTURES
        else:
            np.testing.assert_array_equal(answer, target)


def test_partners_come_from_where_there_are_some(photos_path, drawn_path, tmp_path, where):
    """Shares hold over all pairs, also where one dataset knows nobody."""
    for number in range(5):
        save_picture(tmp_path / f"{number}.png", number, size=32)
    unknown = prepare_folder(tmp_path, tmp_path / "out", size=32, num_workers=1)
    rows = load(
        f"{unknown}:0.5,{drawn_path}:0.5",
        100,
        same_picture_share=0.0,
        same_identity_share=0.3,
        reconstruct_same_identity=True,
    )
    assert rows["same"].mean() == pytest.approx(0.3, abs=0.03)
    with pytest.raises(UserError, match=r"at most 0\.400"):
        open_loader(f"{unknown}:0.5,{drawn_path}:0.5", same_identity_share=0.45)


EVERYTHING = {
    "same_picture_share": 0.2,
    "same_identity_share": 0.2,
    "answer_share": 0.7,
    "pseudo_share": 0.5,
    "horizontal_flip": True,
    "colour_jitter": 0.3,
    "occlusion_share": 0.5,
}


def assert_equal_rows(some, others):
    assert some.keys() == others.keys()
    for name in some:
        np.testing.assert_array_equal(some[name], others[name])


def test_any_step_can_be_the_first_with_any_number_of_threads(mixed):
    whole = load(mixed, 7, **EVERYTHING)
    late = load(mixed, 2, first_step=5, num_threads=7, cache_megabytes=0, **EVERYTHING)
    assert_equal_rows({name: rows[-20:] for name, rows in whole.items()}, late)


def test_processes_share_the_global_batch(mixed):
    whole = load(mixed, 4, **EVERYTHING)
    parts = [
        load(mixed, 4, process_index=index, process_count=5, **EVERYTHING) for index in range(5)
    ]
    for name, expected in whole.items():
        steps = [part[name].reshape(4, 2, *expected.shape[1:]) for part in parts]
        joined = np.concatenate(steps, axis=1).reshape(expected.shape)
        np.testing.assert_array_equal(joined, expected)


def test_a_dataset_alone_is_what_it_always_was(photos_path):
    expected = load(photos_path, 4, same_picture_share=0.3)
    assert_equal_rows(expected, load(f"{photos_path}:1", 4, same_picture_share=0.3))
    fingerprints = [fingerprint(path) for path in (photos_path, f"{photos_path}:1.0")]
    assert fingerprints == 2 * [PreparedDataset(photos_path).fingerprint]


def fingerprint(path, **settings):
    loader = open_loader(path, **settings)
    loader.close()
    return loader.info.fingerprint


def test_other_shares_datasets_or_orders_are_other_data(photos_path, drawn_path, mixed, tmp_path):
    several = [
        mixed,
        f"{photos_path}:0.6,{drawn_path}:0.4",
        f"{drawn_path}:0.3,{photos_path}:0.7",
        photos_path,
        drawn_path,
    ]
    assert len({fingerprint(path) for path in several}) == len(several)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(photos_path)
    assert fingerprint(f"{elsewhere}:7/10,{drawn_path}:0.30") == fingerprint(mixed)


def test_a_list_restricts_the_dataset_that_it_is_of(
    photos_path, drawn_path, mixed, where, tmp_path
):
    listed, other = tmp_path / "mined.json", tmp_path / "other.json"
    dataset = PreparedDataset(photos_path)
    write_subset(listed, dataset, {}, [ListedPicture(i, f"{i}.png", 1.0) for i in (5, 2)])
    rows = load(mixed, 12, subset=str(listed))
    targets = {where(target) for target in rows["target"]}
    assert targets == {(0, 5), (0, 2)} | {(1, index) for index in range(12)}
    assert fingerprint(mixed, subset=str(listed)) != fingerprint(mixed)
    other.write_text(json.dumps(json.loads(listed.read_text()) | {"dataset_fingerprint": "x"}))
    with pytest.raises(UserError, match="pictures of another dataset") as error:
        open_loader(mixed, subset=str(other))
    assert str(photos_path) in str(error.value)
    assert str(drawn_path) in str(error.value)


def test_people_are_counted_on_from_one_dataset_to_the_next(mixed, where, photos_path, drawn_path):
    rows = load(mixed, 12, kind="identities")
    for picture, label in zip(rows["image"], rows["label"], strict=True):
        dataset, index = where(picture)
        identities = PreparedDataset((photos_path, drawn_path)[dataset]).identities
        assert label == identities[index] + (0, 3)[dataset]
    assert set(rows["label"]) == set(range(3 + PEOPLE))
    assert count_identities(mixed) == 3 + PEOPLE
    loader = open_loader(mixed, kind="identities")
    loader.close()
    assert loader.info.num_identities == 3 + PEOPLE


def test_info_tells_of_each_dataset(mixed, photos_path, drawn_path):
    loader = open_loader(mixed)
    loader.close()
    info = loader.info
    assert (info.num_pictures, info.image_size) == (7 + 12, 32)
    facts = [(part.path, part.share, part.num_pictures) for part in info.datasets]
    assert facts == [(str(photos_path), 0.7, 7), (str(drawn_path), 0.3, 12)]


def test_sizes_that_differ_are_refused(mixed, dataset_path, drawn_path):
    with pytest.raises(UserError, match=r"16 pixels.* needs 32.*--size 32") as error:
        open_loader(f"{drawn_path}:0.5,{dataset_path}:0.5")
    assert str(dataset_path) in str(error.value)
    with pytest.raises(UserError, match=r"32 pixels.* needs 16") as error:
        open_loader(f"{drawn_path}:0.5,{dataset_path}:0.5", image_size=SIZE)
    assert str(drawn_path) in str(error.value)


def test_a_dataset_that_is_missing_or_has_no_people_is_named(photos_path, drawn_path, tmp_path):
    with pytest.raises(UserError, match=f"no prepared dataset at {tmp_path}/gone"):
        open_loader(f"{drawn_path}:0.5,{tmp_path}/gone:0.5")
    for number in range(3):
        save_picture(tmp_path / "x" / f"{number}.png", number, size=32)
    one = prepare_folder(tmp_path / "x", tmp_path / "out", size=32, num_workers=1)
    with pytest.raises(UserError, match=f"{one} has 0 known identities"):
        open_loader(f"{drawn_path}:0.5,{one}:0.5", kind="identities")
    with pytest.raises(UserError, match=f"no right answers in {photos_path} or {one}"):
        open_loader(f"{photos_path}:0.5,{one}:0.5", answer_share=0.5)
    save_picture(tmp_path / "y/a/1.png", 1, size=32)
    save_picture(tmp_path / "y/a/2.png", 2, size=32)
    same = prepare_folder(tmp_path / "y", tmp_path / "same", size=32, num_workers=1)
    with pytest.raises(UserError, match=f"all pictures of {same} show one identity"):
        open_loader(f"{drawn_path}:0.5,{same}:0.5")


def test_the_cache_is_shared(photos_path, drawn_path, mixed):
    """Both fit 0.05 MB alone, only the first one when they are together."""
    from faceshifter_jax.data.loader import _open_datasets
    from faceshifter_jax.data.settings import DataSettings

    settings = DataSettings(path=mixed, cache_megabytes=0.05)
    datasets = _open_datasets(read_sources(mixed), settings, 32)
    assert [dataset.cache_bytes for dataset in datasets] == [7 * 32 * 32 * 3, 0]


def test_pseudo_targets_are_for_different_people_without_an_answer(mixed):
    settings = {"same_picture_share": 0.2, "same_identity_share": 0.2, "answer_share": 0.5}
    settings |= {"reconstruct_same_identity": True}
    rows = load(mixed, 60, pseudo_share=0.4, **settings)
    free = (rows["same"] == 0) & (rows["answered"] == 0)
    assert rows["pseudo"].dtype == np.float32
    assert not rows["pseudo"][~free].any()
    assert rows["pseudo"][free].mean() == pytest.approx(0.4, abs=0.07)
    everywhere = load(mixed, 60, pseudo_share=1.0, **settings)
    np.testing.assert_array_equal(everywhere["pseudo"], free)
    # The mask is all that it adds.
    without = load(mixed, 60, **settings)
    assert_equal_rows(without, {name: rows[name] for name in without})


def test_pseudo_targets_are_never_pictures_of_one_person(photos_path):
    rows = load(photos_path, 30, same_identity_share=0.5, same_picture_share=0.2, pseudo_share=1.0)
    assert rows["pseudo"].mean() == pytest.approx(0.3, abs=0.06)
    originals = [make_picture(number, size=32) for number in range(7)]
    for source, target, pseudo in zip(rows["source"], rows["target"], rows["pseudo"], strict=True):
        one, other = (
            next(i for i, original in enumerate(originals) if np.array_equal(original, picture))
            for picture in (source, target)
        )
        people = [index // 2 if index < 6 else 100 + index for index in (one, other)]
        assert pseudo == (people[0] != people[1])
