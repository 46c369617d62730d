"""Exported ONNX files in onnxruntime against the networks themselves."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from trained_workdirs import save_networks

from faceshifter_jax.cli import main
from faceshifter_jax.swapping.stages import load_stages

SCRIPT = Path(__file__).parents[2] / "scripts" / "swap_onnx.py"


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    return save_networks(tmp_path_factory.mktemp("trained"))


def test_without_the_package_one_line_says_what_to_install(workdirs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    assert main(["export", str(workdirs[0]), str(tmp_path / "x.onnx"), "--format", "onnx"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'faceshifter-jax[onnx]'" in error
    assert list(tmp_path.iterdir()) == []


def open_session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def export(workdir, out, *options):
    assert main(["export", str(workdir), str(out), "--format", "onnx", *options]) == 0
    session = open_session(out)
    facts = json.loads(Path(f"{out}.json").read_text())
    assert json.loads(session.get_modelmeta().custom_metadata_map["faceshifter_jax"]) == facts
    assert [one.name for one in session.get_inputs()] == list(facts["inputs"])
    return session, facts


def test_every_part_gives_the_same_in_onnxruntime_for_any_batch(workdirs, tmp_path):
    pytest.importorskip("jax2onnx", reason="pip install 'faceshifter-jax[onnx]'")
    stages = load_stages(str(workdirs[0]))
    generator, identity, _ = stages.networks
    size = stages.image_size
    draw = np.random.default_rng(3).integers
    source, target = (draw(0, 256, (5, size, size, 3), np.uint8) for _ in range(2))
    signed = target.astype(np.float32) / 127.5 - 1

    whole, facts = export(workdirs[0], tmp_path / "swap.onnx")
    assert facts["inputs"]["source"]["shape"] == ["any", size, size, 3]
    assert facts["provenance"]["checkpoint_sha256"] == stages.generator.sha256
    embed, _ = export(workdirs[0], tmp_path / "id.onnx", "--part", "identity")
    alone, _ = export(workdirs[1], tmp_path / "alone.onnx", "--part", "identity")
    aei, facts = export(workdirs[0], tmp_path / "aei.onnx", "--part", "aei", "--masks")
    assert facts["alignment"] == "arcface"
    embedding = np.asarray(jax.jit(lambda g: identity.embed(g))(signed))
    image, masks = jax.jit(generator.swap_with_masks)(signed, embedding)
    for rows in (1, 5):
        wanted = stages.swap(source[:rows], target[:rows])
        (found,) = whole.run(None, {"source": source[:rows], "target": target[:rows]})
        assert np.abs(found.astype(int) - wanted).max() <= 1
        (found,) = embed.run(None, {"picture": signed[:rows]})
        np.testing.assert_allclose(found, embedding[:rows], atol=1e-4)
        found = aei.run(None, {"target": signed[:rows], "embedding": embedding[:rows]})
        for one, wanted in zip(found, [image, *masks.values()], strict=True):
            np.testing.assert_allclose(one, wanted[:rows], atol=1e-4)
    side = alone.get_inputs()[0].shape[1]
    picture = np.random.default_rng(4).uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    (found,) = alone.run(None, {"picture": picture})
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    _try_the_script(tmp_path, source[0], target[0], stages.swap(source[:1], target[:1])[0])


def _try_the_script(folder, source, target, wanted):
    for name, square in (("source", source), ("target", target)):
        Image.fromarray(square).save(folder / f"{name}.png")
    names = ("swap.onnx", "source.png", "target.png", "result.png")
    subprocess.run([sys.executable, SCRIPT, *(folder / name for name in names)], check=True)
    found = np.asarray(Image.open(folder / "result.png"))
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_parts_that_are_not_there_are_refused(workdirs, tmp_path, capsys):
    out = str(tmp_path / "x.stablehlo")
    assert main(["export", str(workdirs[0]), out, "--part", "hear"]) == 2
    assert "has no second stage: name a HEAR-Net with --hear" in capsys.readouterr().err
    assert main(["export", str(workdirs[0]), out, "--masks"]) == 2
    assert "--masks goes with --part aei" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
