"""Each config trained for a few steps by the real command lines, from pictures to a report."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoint_arrays import read_state
from PIL import Image

ROOT = Path(__file__).parent.parent
SMALL_AEI = [
    "--config.batch_size=4",
    "--config.model.encoder_channels=(4,4,4,4)",
    "--config.model.generator_channels=(8,8,8,8,4)",
    "--config.discriminator.width=4",
    "--config.discriminator.num_layers=2",
    "--config.identity.embedding_size=8",
    "--config.image_size=32",
]
SMALL_ARCFACE = [
    "--config.batch_size=4",
    "--config.model.depth=10",
    "--config.model.width=4",
    "--config.model.embedding_size=8",
    "--config.model.input_size=16",
    "--config.image_size=32",
]


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(tmp_path_factory):
    """Steps of milliseconds do not pay for compiling again."""
    cache = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
        yield


def call(*words, code=0):
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def train(name, variant, workdir, steps, *options, code=0):
    config = f"configs/{name}.py{variant}"
    return call("train.py", "--config", config, "--workdir", workdir,
                f"--config.num_steps={steps}", "--config.log_every_steps=1", *options,
                code=code)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "faces"
    call("-m", "faceshifter_jax.cli", "render", path, "--identities=6", "--pictures=3",
         "--group-size=2", "--size=32", "--num-workers=1")  # fmt: skip
    return path


@pytest.fixture(scope="module", params=[pytest.param("", marks=pytest.mark.slow), ":demo"])
def arcface(request, data, tmp_path_factory):
    """A workdir of each variant of configs/arcface.py, two steps trained."""
    workdir = tmp_path_factory.mktemp("arcface") / "run"
    train("arcface", request.param, workdir, 2, *SMALL_ARCFACE, f"--config.data.path={data}")
    return request.param, workdir


def test_arcface_leaves_a_checkpoint_and_samples(arcface):
    _, workdir = arcface
    assert (workdir / "checkpoints/2").is_dir()
    assert json.loads((workdir / "config.json").read_text())["model"]["num_classes"] == 6
    with Image.open(workdir / "samples/step_00000002.png") as grid:
        assert grid.width > 2 * 32


def test_aei_trains_resumes_and_is_evaluated(arcface, data, tmp_path):
    variant, identity = arcface
    workdir = tmp_path / "aei"
    options = [*SMALL_AEI, f"--config.data.path={data}", f"--config.identity.weights={identity}"]
    train("aei", variant, workdir, 2, *options)
    again = train("aei", variant, workdir, 3, *options)
    assert "step 3/3" in again.stdout
    assert "step 2/3" not in again.stdout
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").open()]
    assert steps == [1, 2, 3]

    out = tmp_path / "report"
    done = call("-m", "faceshifter_jax.cli", "evaluate", "--checkpoint", workdir, "--judge",
                identity, "--output", out, "--pairs=4", "--identities=3")  # fmt: skip
    assert "another one" in done.stdout, "a judge that the training used must be pointed out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["step"] == 3
    assert 0 <= metrics["swap_nearer_source"] <= 1
    with Image.open(out / "report.png") as report:
        assert report.width > 4 * 128


@pytest.mark.parametrize("arcface", [":demo"], indirect=True)
def test_resumed_aei_training_equals_an_uninterrupted_one_bit_for_bit(arcface, data, tmp_path):
    """The real task, pairs, flips and colours; every array of the checkpoint, in new processes."""
    variant, identity = arcface
    options = [
        *SMALL_AEI,
        f"--config.data.path={data}",
        f"--config.identity.weights={identity}",
        "--config.data.horizontal_flip=True",
        "--config.data.colour_jitter=0.3",
        "--config.optimizer.generator.schedule=constant",
        "--config.optimizer.discriminator.schedule=constant",
    ]
    train("aei", variant, tmp_path / "whole", 4, *options)
    train("aei", variant, tmp_path / "parts", 2, *options)
    again = train("aei", variant, tmp_path / "parts", 4, *options)
    assert "continuing with other settings: num_steps 2 -> 4\n" in again.stdout
    whole, parts = (read_state(tmp_path / name) for name in ("whole", "parts"))
    assert whole["step"] == 4
    assert {key.split(".")[0] for key in whole} == {
        *("step", "params", "batch_stats", "opt_state", "ema_params")
    }
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        np.testing.assert_array_equal(parts[key], value, err_msg=key)


def test_starts_that_are_refused_leave_nothing_behind(arcface, data, tmp_path):
    variant, identity = arcface
    for name, options in {
        "arcface": [*SMALL_ARCFACE, "--config.model.num_classes=7"],
        "aei": [*SMALL_AEI, f"--config.identity.weights={identity}", "--config.image_size=64"],
    }.items():
        done = train(name, variant, tmp_path / "run", 2, *options, f"--config.data.path={data}",
                     code=2)  # fmt: skip
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_aei_without_identity_weights_says_how_to_get_some(data, tmp_path):
    done = train("aei", "", tmp_path / "aei", 2, *SMALL_AEI, f"--config.data.path={data}", code=2)
    assert done.stderr.startswith("error: config.identity.weights is empty")
    assert "configs/arcface.py" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "aei").exists()


def test_workdir_of_another_task_is_refused(arcface, data):
    variant, workdir = arcface
    done = train("aei", variant, workdir, 2, *SMALL_AEI, f"--config.data.path={data}",
                 f"--config.identity.weights={workdir}", code=2)  # fmt: skip
    assert done.stderr.startswith("error: ")
    assert "arcface" in done.stderr
    assert done.stderr.count("\n") == 1


def test_evaluating_an_identity_network_is_refused(arcface, tmp_path):
    _, workdir = arcface
    done = call("-m", "faceshifter_jax.cli", "evaluate", "--checkpoint", workdir, "--judge",
                workdir, "--output", tmp_path / "out", code=2)  # fmt: skip
    assert "not an AEI-Net" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("arcface", [":demo"], indirect=True)
def test_networks_of_a_training_travel_as_files(arcface, data, tmp_path):
    """Workdirs converted to files, which are then identity weights, a start, and evaluated."""
    variant, identity = arcface
    cli = ("-m", "faceshifter_jax.cli")
    identity_file, aei_file = tmp_path / "identity.safetensors", tmp_path / "aei.safetensors"
    done = call(*cli, "convert", identity, identity_file)
    assert "identity: IResNet" in done.stdout
    options = [*SMALL_AEI, f"--config.data.path={data}",
               f"--config.identity.weights={identity_file}"]  # fmt: skip
    train("aei", variant, tmp_path / "first", 1, *options)
    call(*cli, "convert", tmp_path / "first", aei_file)

    options.append(f"--config.init_from={aei_file}")
    done = train("aei", variant, tmp_path / "second", 1, *options,
                 "--config.optimizer.generator.learning_rate=1e-30")  # fmt: skip
    assert f"starting from: generator of {aei_file}\n" in done.stdout
    first, second = (read_state(tmp_path / name) for name in ("first", "second"))
    for key in first:
        if key.startswith("ema_params.generator"):
            np.testing.assert_allclose(second[key], first[key], atol=1e-6, err_msg=key)
    aei_file.rename(tmp_path / "gone")
    assert "nothing to do" in train("aei", variant, tmp_path / "second", 1, *options).stdout

    evaluate = [*cli, "evaluate", "--checkpoint", tmp_path / "first", "--judge", identity_file,
                "--pairs=4", "--identities=3"]  # fmt: skip
    call(*evaluate, "--output", tmp_path / "a")
    (tmp_path / "gone").rename(aei_file)
    evaluate[evaluate.index(tmp_path / "first")] = aei_file
    refused = call(*evaluate, "--output", tmp_path / "b", code=2)
    assert "--identity" in refused.stderr
    assert refused.stderr.count("\n") == 1
    call(*evaluate, "--output", tmp_path / "b", "--identity", identity_file)
    reports = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in "ab"]
    assert reports[0]["psnr_swap"] == pytest.approx(reports[1]["psnr_swap"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("arcface", [":demo"], indirect=True)
def test_second_stage_from_a_mined_list_to_a_report(arcface, data, tmp_path):
    """HEAR-Net of both variants on mined targets with occlusions; resumed, swapped, evaluated."""
    variant, identity = arcface
    cli = ("-m", "faceshifter_jax.cli")
    common = [f"--config.data.path={data}", f"--config.identity.weights={identity}"]
    aei, mined = tmp_path / "aei", tmp_path / "mined.json"
    train("aei", variant, aei, 1, *SMALL_AEI, *common)
    done = call(*cli, "mine", "--checkpoint", aei, "--data", data, "--output", mined,
                "--share=0.4")  # fmt: skip
    assert "listed 7 of 18 pictures" in done.stdout
    with Image.open(mined.with_suffix(".png")) as sheet:
        assert sheet.width > 100
    options = [*common, f"--config.aei.weights={aei}", f"--config.data.subset={mined}",
               "--config.batch_size=4", "--config.image_size=32",
               "--config.model.channels=(4,6)"]  # fmt: skip
    for name in ("", ":demo"):
        train("hear", name, tmp_path / f"hear{name}", 2, *options)
        again = train("hear", name, tmp_path / f"hear{name}", 3, *options)
        assert "step 3/3" in again.stdout
        assert "step 2/3" not in again.stdout
    before = read_state(aei)
    hear, out = tmp_path / "hear:demo", tmp_path / "report"
    call(*cli, "evaluate", "--checkpoint", hear, "--judge", identity, "--output", out,
         "--pairs=5", "--identities=3")  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"occluder_error_aei", "occluder_error_hear", "id_cosine_hear"} <= metrics.keys()
    assert metrics["occluder_error_aei"] != metrics["occluder_error_hear"]
    for key, value in read_state(aei).items():
        np.testing.assert_array_equal(before[key], value, err_msg=key)
    file = tmp_path / "hear.safetensors"
    call(*cli, "convert", hear, file)
    call(*cli, "evaluate", "--checkpoint", aei, "--hear", file, "--judge", identity, "--output",
         tmp_path / "again", "--pairs=5", "--identities=3")  # fmt: skip
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["occluder_error_hear"] == pytest.approx(metrics["occluder_error_hear"], abs=1e-4)
    refused = train("hear", "", tmp_path / "none", 1, *common, "--config.image_size=32",
                    "--config.batch_size=4", code=2)  # fmt: skip
    assert refused.stderr.startswith("error: config.aei.weights is empty")
    assert not (tmp_path / "none").exists()
