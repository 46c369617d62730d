"""Networks that come with the package: written by the script, read by name."""

import hashlib
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from tiny_checkpoints import save_aei, save_hear, save_identity
from tiny_tasks import aei_config

from faceshifter_jax import cli
from faceshifter_jax.checkpoints.weights import read_weights
from faceshifter_jax.data import prepare_embedded
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.protocols.rendered_pairs import render_ground_truth
from faceshifter_jax.networks import shipped
from faceshifter_jax.networks.file import write_network_file
from faceshifter_jax.training.train import train

REPOSITORY = Path(__file__).parents[2]
NAMES = ("aei", "hear", "identity", "judge")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Workdirs of all four networks, and another AEI-Net."""
    top = tmp_path_factory.mktemp("trained")
    identity = save_identity(top / "identity", seed=5)
    judge = save_identity(top / "judge", seed=6)
    save_aei(top / "aei", identity, step=20)
    save_aei(top / "other", judge)
    save_hear(top / "hear", identity, read_weights(top / "aei"))
    return top


def run_script(trained, out, **changes):
    words = [
        word
        for name in ("identity", "judge", "aei", "hear")
        for word in (f"--{name}", trained / changes.get(name, name))
    ]
    script = REPOSITORY / "scripts" / "ship_networks.py"
    return subprocess.run(
        [sys.executable, script, *words, "--out", out],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "pretrained"
    done = run_script(trained, folder)
    assert done.returncode == 0, done.stderr
    assert "step 20" in done.stdout
    return folder


@pytest.fixture
def package(folder, monkeypatch):
    """A package that comes with these networks."""
    monkeypatch.setattr(shipped, "FOLDER", folder)
    return folder


def test_the_recorded_hashes_are_those_of_the_files(package):
    lines = (package / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((package / name).read_bytes()).hexdigest() == digest
    assert shipped.shipped_names() == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_half_as_large_and_the_same_but_for_rounding(name, package, trained):
    (role,) = read_weights(f"shipped:{name}").networks
    small = read_weights(f"shipped:{name}").networks[role]
    whole = read_weights(trained / name).networks[role]
    assert (small.architecture, small.embedding_size) == (whole.architecture, whole.embedding_size)
    for kept, given in zip(*map(jax.tree.leaves, (small.variables, whole.variables)), strict=True):
        assert kept.dtype == np.float32
        np.testing.assert_allclose(kept, given, rtol=2**-11, atol=1e-7)
    statistics = (jax.tree.leaves(n.variables["batch_stats"]) for n in (small, whole))
    for kept, given in zip(*statistics, strict=True):
        np.testing.assert_array_equal(kept, given)
    with safe_open(package / f"{name}.safetensors", "numpy") as file:
        dtypes = {n: file.get_tensor(n).dtype for n in file.keys()}  # noqa: SIM118
    assert {d for n, d in dtypes.items() if "/params/" in n} == {np.dtype(np.float16)}


def test_each_knows_what_it_was_trained_with(package):
    loaded = {name: read_weights(f"shipped:{name}") for name in NAMES}
    assert loaded["identity"].frozen == {}
    for name, needed in (("aei", ["identity"]), ("hear", ["identity", "aei"])):
        assert loaded[name].frozen == {
            n: {"path": f"shipped:{n}", "sha256": loaded[n].sha256} for n in needed
        }
    assert loaded["hear"].directory == "shipped:hear", "the same on every machine"


def test_networks_of_different_trainings_are_not_shipped_together(trained, tmp_path):
    done = run_script(trained, tmp_path / "out", aei="other")
    assert done.returncode == 2
    assert "was not trained with what is now in --identity" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    done = run_script(trained, tmp_path / "out", judge="hear")
    assert "holds no identity network" in done.stderr


def test_weights_too_large_for_half_precision_are_refused(trained, tmp_path):
    network = read_weights(trained / "identity").networks["identity"]
    params = jax.tree.map(lambda leaf: leaf + np.float32(70000), network.variables["params"])
    network.variables["params"].update(params)
    with pytest.raises(UserError, match="not finite"):
        write_network_file(tmp_path / "a", {"identity": network}, {}, half_precision=True)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth = render_ground_truth(32, num_pairs=1, num_identities=2)
    Image.fromarray(truth.sources()[0]).save("source.png")
    Image.fromarray(truth.target[0]).save("target.png")
    return ["--aligned", "--source", "source.png", "--target", "target.png"]


def test_swap_takes_them_where_no_checkpoint_is_named(package, pictures, capfd):
    assert cli.main(["swap", *pictures, "--output", "swap.png"]) == 0
    first = capfd.readouterr().out.splitlines()[0]
    assert first.startswith("using shipped:hear, which comes with the package")
    named = ["--checkpoint", "shipped:hear", "--output", "named.png"]
    assert cli.main(["swap", *pictures, *named]) == 0
    assert "using" not in capfd.readouterr().out
    first, second = (np.asarray(Image.open(name)) for name in ("swap.png", "named.png"))
    np.testing.assert_array_equal(first, second)


def test_a_second_stage_that_is_named_goes_behind_the_shipped_first(package):
    assert shipped.default_checkpoint() == "shipped:hear"
    assert shipped.default_checkpoint(with_second_stage=False) == "shipped:aei"


@pytest.mark.slow
def test_a_training_takes_them_by_name(package, tmp_path, capfd):
    prepare_embedded(
        tmp_path / "faces", num_identities=3, pictures_per_identity=2, size=32, num_workers=1
    )
    config = aei_config()
    config.num_steps, config.batch_size = 1, 2
    config.data.path = str(tmp_path / "faces")
    config.identity.weights, config.init_from = "shipped:identity", "shipped:aei"
    train(config, tmp_path / "run")
    assert "starting from: generator of shipped:aei" in capfd.readouterr().out
    identity = read_weights("shipped:identity")
    assert read_weights(tmp_path / "run").frozen == {
        "identity": {"path": "shipped:identity", "sha256": identity.sha256}
    }


@pytest.mark.slow
def test_evaluate_takes_them_and_their_judge(package, tmp_path, capfd):
    words = ["evaluate", "--pairs", "4", "--identities", "2"]
    assert cli.main(words) == 2
    assert "shipped:hear has no workdir: say with --output" in capfd.readouterr().err
    code = cli.main([*words, "--output", str(tmp_path / "out")])
    said = capfd.readouterr()
    assert code == 0, said
    first = said.out.partition("\n")[0]
    assert first.startswith("using shipped:hear, "), said
    assert first.endswith("shipped:judge judges")
    text = (tmp_path / "out" / "metrics.json").read_text()
    for name in NAMES:
        assert read_weights(f"shipped:{name}").sha256 in text
    assert cli.main([*words, "--watch"]) == 2
    assert "--watch needs --checkpoint" in capfd.readouterr().err


def test_without_any_it_says_what_to_name(tmp_path, monkeypatch, pictures, capfd):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "nothing")
    for command in (["swap", *pictures, "--output", "swap.png"], ["evaluate", "--output", "out"]):
        assert cli.main(command) == 2
        error = capfd.readouterr().err
        assert "--checkpoint is missing, and no trained networks come with" in error
        assert error.count("\n") == 1
    assert not Path("swap.png").exists()
    with pytest.raises(UserError, match="no network called 'shipped:aei' comes with"):
        read_weights("shipped:aei")


def test_files_that_are_not_as_recorded_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / "aei.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "aei.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"not the file that SHA256SUMS .* records"):
        read_weights("shipped:aei")
    (tmp_path / "aei.safetensors").unlink()
    with pytest.raises(UserError, match=r"cannot read .*aei\.safetensors"):
        read_weights("shipped:aei")
    known = "shipped:aei, shipped:hear, shipped:identity, shipped:judge"
    for name in ("shipped:", "shipped:../aei", "shipped:aie"):
        with pytest.raises(UserError, match=f"no network called {name!r}.*: there are {known}"):
            read_weights(name)


@pytest.mark.skipif(not shipped.shipped_names(), reason="this copy comes without networks")
def test_what_this_copy_comes_with_is_whole():
    names = set(shipped.shipped_names())
    assert names == set(NAMES)
    for name in names:
        assert read_weights(f"shipped:{name}").networks
    size = sum(file.stat().st_size for file in shipped.FOLDER.glob("*.safetensors"))
    assert size <= 16e6
    assert (shipped.FOLDER / shipped.CARD_FILE).is_file()
