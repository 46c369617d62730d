"""From two photographs to the swapped square, as at home: each published generator's whole path.

What the originals do is written down here in plain numpy, from the photograph to the pictures and
embeddings that their networks get; the networks themselves are tested against the originals' own
numbers elsewhere. Ours runs as a user has it: files by `faceshifter convert`, and `Swapper`.
"""

import jax
import numpy as np
import published_layouts as published
import pytest
from golden_networks import make_state_dict, read_golden
from published_pictures import (
    AHEAD,
    RIGHT,
    SOURCE,
    TARGET,
    KnownLandmarks,
    ghost_matrix,
    picture,
    resized,
    square_matrix,
    taotaonice_matrix,
    warped,
)
from safetensors.numpy import save_file

from faceshifter_jax.cli import main
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.alignment import check_side
from faceshifter_jax.evaluation.mining import load_heuristic_error
from faceshifter_jax.evaluation.model import load_subject
from faceshifter_jax.faces.alignment import ALIGNMENTS, align, resize_square
from faceshifter_jax.networks.build import build_network
from faceshifter_jax.networks.contract import WHOLE, View
from faceshifter_jax.networks.file import read_network_file
from faceshifter_jax.networks.identity import crop_for_identity
from faceshifter_jax.swapping.stages import load_identity, load_stages
from faceshifter_jax.swapping.swapper import Swapper

DOWN, UP = (4, 4, 6, 6, 8), (8, 8, 6, 6, 6, 6)
SIZE = 64
IDENTITY = published.iresnet((2, 2, 2, 2), width=8, side=2, size=12)
IDENTITIES = {"ghost": "identity", "taotaonice": "ir_se", "maum": "identity"}
ATTENTIVE = published.ir((3, 4, 14, 3), width=16, side=1, attentive=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Converted networks by name; small ones that make squares of 64 pixels."""
    folder = tmp_path_factory.mktemp("published")
    shapes = {
        "identity": IDENTITY,
        "ir_se": ATTENTIVE,
        "ghost": published.ghost(DOWN, UP, 2, identity=12),
        "taotaonice": published.taotaonice(DOWN, UP, identity=512),
        "maum": published.maum(DOWN, UP, identity=12),
    }
    for name, own in shapes.items():
        save_file(make_state_dict(own), folder / f"{name}.pth")
        assert (
            main(["convert", str(folder / f"{name}.pth"), str(folder / f"{name}.safetensors")]) == 0
        )
    return {name: str(folder / f"{name}.safetensors") for name in shapes}


@pytest.fixture(scope="module")
def swappers(files):
    """One of each family, compiled once."""
    return {
        name: Swapper.load(files[name], identity=files[identity], detector=KnownLandmarks())
        for name, identity in IDENTITIES.items()
    }


def apply(path, role, *inputs):
    """A network as its file has it, in the order of channels that the original has."""
    network = read_network_file(path).networks[role]
    return jax.jit(build_network(network).apply)(network.variables, *inputs)


def embedding_of(path, crop):
    """The raw embedding of a crop (S, S, 3) of grey levels."""
    return np.asarray(apply(path, "identity", ((crop - 127.5) / 127.5)[None].astype(np.float32)))


def swapped_by(swapper):
    assignment, _ = swapper.assign_source(picture(0))
    return swapper.swap_photo(assignment, picture(1)).faces[0].swapped


def generated(path, target, embedding):
    """The original's swap (S, S, 3) in grey levels, of a target in grey levels."""
    target = ((target - 127.5) / 127.5)[None].astype(np.float32)
    return np.asarray(apply(path, "generator", target, embedding).image)[0] * 127.5 + 127.5


def assert_same_picture(ours, theirs):
    error = np.abs(ours - theirs)
    print(f"mean {error.mean():.3f}, largest {error.max():.2f} grey levels")
    # A quarter of a level is what rounding to uint8 makes alone.
    assert error.mean() < 0.5
    assert error.max() < 4


def test_ghost_swaps_as_at_home(files, swappers):
    source = warped(picture(0), ghost_matrix(SOURCE, AHEAD), 224)
    target = warped(picture(1), ghost_matrix(TARGET, RIGHT), 224)
    target = np.round(resized(target, SIZE, corners=False))
    embedding = embedding_of(files["identity"], resized(source, 32, corners=True))
    theirs = generated(files["ghost"], target, embedding)
    assert_same_picture(swapped_by(swappers["ghost"]), theirs)
    # So much would the embedding's length alone change.
    unit = embedding / np.linalg.norm(embedding)
    assert np.abs(generated(files["ghost"], target, unit) - theirs).mean() > 1


def test_taotaonice_swaps_as_at_home(files, swappers):
    source, target = (
        warped(picture(k), taotaonice_matrix(landmarks, SIZE), SIZE)[..., ::-1]
        for k, landmarks in enumerate((SOURCE, TARGET))
    )
    # Rows and columns 19 to 236 of 256.
    embedding = embedding_of(files["ir_se"], resized(source[5:59, 5:59], 16, corners=True))
    theirs = generated(files["taotaonice"], target, embedding / np.linalg.norm(embedding))
    assert_same_picture(swapped_by(swappers["taotaonice"]), theirs[..., ::-1])
    assert np.abs(theirs - theirs[..., ::-1]).mean() > 1


def test_maum_swaps_as_at_home(files, swappers):
    source, target = (
        align(picture(k), landmarks, SIZE, "ffhq").astype(float)
        for k, landmarks in enumerate((SOURCE, TARGET))
    )
    embedding = embedding_of(files["identity"], resized(source, 32, corners=False))
    theirs = generated(files["maum"], target, embedding / np.linalg.norm(embedding))
    assert_same_picture(swapped_by(swappers["maum"]), theirs)


@pytest.mark.parametrize(
    ("name", "changes"), [("ghost", True), ("taotaonice", False), ("maum", False)]
)
def test_the_length_of_the_embedding_matters_to_ghost_alone(files, name, changes):
    generator, network, _ = load_stages(files[name], files[IDENTITIES[name]]).networks
    pictures = np.random.default_rng(0).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32)
    features = jax.jit(type(network).features)(network, pictures)
    swap = jax.jit(type(generator).swap)
    once, twice = (swap(generator, pictures, factor * features) for factor in (1, 2))
    difference = np.abs(np.asarray(once - twice)).max() * 127.5
    assert difference > 1 if changes else difference < 0.01


def test_evaluate_mine_and_export_feed_ghost_as_swap_does(files, tmp_path):
    ghost, identity = files["ghost"], files["identity"]
    source, target = (
        align(picture(k), landmarks, SIZE, "insightface-0.2")
        for k, landmarks in enumerate((SOURCE, TARGET))
    )

    def swap_of(face):
        seen = resized(face.astype(float), 32, corners=True)
        return generated(ghost, target.astype(float), embedding_of(identity, seen))

    subject = load_subject(ghost, identity, None)
    assert_same_picture(subject.swap(source[None], target[None]).last[0], swap_of(source))
    (warning,) = check_side("ghost.safetensors", subject.side, subject.image_size)
    assert "cut from photos in 224 pixels and resized to 64; these pictures have 64" in warning
    error = np.asarray(load_heuristic_error(ghost, identity)[0](target[None]))[0]
    assert_same_picture(error, target - swap_of(target))
    assert main(["export", ghost, str(tmp_path / "swap"), "--identity", identity]) == 0
    exported = jax.export.deserialize(bytearray((tmp_path / "swap").read_bytes()))
    large = align(picture(0), SOURCE, 224, "insightface-0.2")
    wanted = load_stages(ghost, identity).swap(large[None], target[None])
    found = np.asarray(exported.call(large[None], target[None]))
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_squares_that_are_cut_already_give_the_same_swap(swappers):
    swapper = swappers["ghost"]
    assert (swapper.square_size, swapper.image_size) == (224, SIZE)
    squares = [
        align(picture(k), landmarks, 224, "insightface-0.2")
        for k, landmarks in enumerate((SOURCE, TARGET))
    ]
    ours = swapped_by(swapper)
    np.testing.assert_array_equal(swapper.swap_aligned(*squares), ours)
    np.testing.assert_array_equal(swapper.swap_batch(*(s[None] for s in squares))[0], ours)


def pasting(square_of, name):
    """A swapper that cuts as `name` does and whose network is `square_of(target)`."""
    side = {"insightface-0.2": 224}.get(name, 256)
    return Swapper(
        lambda source, target: np.stack([square_of(square) for square in target]),
        256,
        KnownLandmarks(),
        square_size=side,
        alignment=name,
    )


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_a_mark_lands_where_the_square_was_cut(name):
    matrix = square_matrix(name)
    y, x = np.mgrid[:256, :256]
    rows, columns = np.mgrid[:300, :320]
    plain = pasting(lambda square: np.full((256, 256, 3), 120, np.uint8), name)
    before = plain.swap(picture(0), picture(1))
    for wanted in (TARGET.mean(0), TARGET[0], TARGET[4]):
        column, row = matrix[:, :2] @ wanted + matrix[:, 2]
        mark = 100 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / 50)
        grey = np.round(120 + mark[..., None]).astype(np.uint8).repeat(3, -1)
        after = pasting(lambda square, grey=grey: grey, name).swap(picture(0), picture(1))
        brighter = np.clip(after.astype(float) - before, 0, None).sum(-1)
        brighter[brighter < 60] = 0
        place = [(brighter * c).sum() / brighter.sum() for c in (columns, rows)]
        np.testing.assert_allclose(place, wanted, atol=0.1)


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_what_is_pasted_is_the_face_as_far_as_its_square_goes(name):
    swapper = pasting(lambda square: np.full((256, 256, 3), 255, np.uint8), name)
    changed = (picture(1) != swapper.swap(picture(0), picture(1))).any(-1)
    # The outline of a face that looks to the right, for a network that changed all around it: an
    # ellipse around a point below the eyes, less wide on the side where the nose points.
    eyes, mouth = TARGET[:2].mean(0), TARGET[3:].mean(0)
    way = np.hypot(*(mouth - eyes))
    down = (mouth - eyes) / way
    rows, columns = np.mgrid[:300, :320]
    x, y = (np.stack([columns, rows], -1) - (eyes + 0.26 * (mouth - eyes))).transpose(2, 0, 1)
    along, across = x * down[0] + y * down[1], x * down[1] - y * down[0]
    radius = np.hypot(along / 1.36, across / np.where(across > 0, 0.75, 1.17)) / (1.22 * way)
    matrix = square_matrix(name)
    u, v = (matrix[i, 0] * columns + matrix[i, 1] * rows + matrix[i, 2] for i in range(2))
    to_edge = np.minimum(np.minimum(u, v), 255 - np.maximum(u, v))
    assert not changed[(radius > 1.04) | (to_edge < 4)].any()
    # A few bright pixels are as they were by chance.
    assert changed[(radius < 0.92) & (to_edge > 16)].mean() > 0.999


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_a_network_that_changes_nothing_leaves_the_photo_as_it_is(name):
    after = pasting(lambda square: resize_square(square, 256), name).swap(picture(0), picture(1))
    assert np.abs(after.astype(int) - picture(1)).max() <= 1


def test_other_identity_networks_are_named_or_refused(files, tmp_path, caplog):
    Swapper.load(files["ghost"], identity=files["identity"])
    said = caplog.text
    assert "was trained with ghost's own IResNet-100 (arcface/backbone.pth of its releases)" in said
    assert "IResNet of 18 layers" in said
    # The right kind of network with the wrong order of channels is refused.
    save_file(make_state_dict(ATTENTIVE), tmp_path / "ir.pth")
    rgb = tmp_path / "rgb.safetensors"
    assert main(["convert", str(tmp_path / "ir.pth"), str(rgb), "--channel-order", "rgb"]) == 0
    with pytest.raises(UserError, match=r"fed BGR pictures, .* says RGB: .* --channel-order bgr"):
        Swapper.load(files["taotaonice"], identity=str(rgb))
    caplog.clear()
    Swapper.load(files["taotaonice"], identity=files["ir_se"])
    assert not caplog.records


def test_a_generator_that_was_bound_to_its_network_takes_no_other(files, tmp_path, caplog):
    save_file(make_state_dict(published.ghost(DOWN, UP, 1, identity=12)), tmp_path / "g.pth")
    bound = str(tmp_path / "bound.safetensors")
    command = ["convert", str(tmp_path / "g.pth"), bound, "--identity", files["identity"]]
    assert main(command) == 0
    caplog.clear()
    Swapper.load(bound, identity=files["identity"])
    assert not caplog.records
    other = published.iresnet((3, 4, 14, 3), width=8, side=2, size=12)
    save_file(make_state_dict(other), tmp_path / "other.pth")
    assert main(["convert", str(tmp_path / "other.pth"), str(tmp_path / "o.safetensors")]) == 0
    with pytest.raises(UserError, match="for another identity network than the one in"):
        Swapper.load(bound, identity=str(tmp_path / "o.safetensors"))


def test_another_alignment_can_be_asked_for(files):
    stages = load_stages(files["ghost"], files["identity"], alignment="arcface")
    # What the identity network sees is the part that is usual there.
    assert stages.contract.alignment == "arcface"
    assert stages.networks[1].view == View((19, 237), "corners")
    swapper = Swapper.load(files["ghost"], identity=files["identity"], alignment="ffhq")
    assert swapper.finder.alignment == "ffhq"
    with pytest.raises(UserError, match="there is no alignment 'dlib'"):
        Swapper.load(files["ghost"], identity=files["identity"], alignment="dlib")


def test_what_identity_networks_see_is_what_the_originals_feed_them():
    square = align(picture(0), SOURCE, 224, "insightface-0.2")
    crop = crop_for_identity(square[None] / np.float32(127.5) - 1, 112, View(WHOLE, "corners"))
    np.testing.assert_allclose(crop[0, 0, 0], (0.74118, -0.69412, 0.23137), atol=1e-5)
    square = align(picture(0), SOURCE, 256, "taotaonice")
    crop = crop_for_identity(square[None] / np.float32(127.5) - 1, 112, View((19, 237), "corners"))
    np.testing.assert_allclose(crop[0, 0, 0][::-1], (0.22353, -0.03529, -0.14510), atol=1e-5)
    for resize, corners in (("corners", True), ("bilinear", False)):
        ours = crop_for_identity(square[None].astype(np.float32), 112, View(WHOLE, resize))[0]
        theirs = resized(square.astype(float), 112, corners=corners)
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def converted(name, tmp_path):
    shapes, _ = read_golden(name)
    save_file(make_state_dict(shapes), tmp_path / "published.pth")
    out = str(tmp_path / f"{name}.safetensors")
    assert main(["convert", str(tmp_path / "published.pth"), out]) == 0
    return out


def test_ghosts_embedding_is_that_of_the_original(tmp_path):
    network, _ = load_identity(converted("iresnet18", tmp_path), View(WHOLE, "corners"))
    square = align(picture(0), SOURCE, 224, "insightface-0.2")
    pictures = square[None] / np.float32(127.5) - 1
    features = np.asarray(jax.jit(type(network).features)(network, pictures))[0]
    first = (-0.36099, -0.33913, 0.56678, 0.31481, -0.44342)
    assert np.linalg.norm(features) == pytest.approx(13.1230, abs=1e-3)
    np.testing.assert_allclose(features[:5], first, atol=2e-4)


def test_taotaonices_embedding_is_that_of_the_original(tmp_path):
    path = converted("ir_se50", tmp_path)
    network, weights = load_identity(path, View((19, 237), "corners"))
    assert weights.networks["identity"].input.channel_order == "bgr"
    square = align(picture(0), SOURCE, 256, "taotaonice")[None] / np.float32(127.5) - 1
    embed = jax.jit(type(network).embed)
    embedding, turned = (np.asarray(embed(network, p))[0] for p in (square, square[..., ::-1]))
    first = (0.076399, 0.025514, -0.017356, 0.014155, -0.014628)
    np.testing.assert_allclose(embedding[:5], first, atol=2e-5)
    assert embedding @ turned == pytest.approx(0.7585, abs=1e-3)
