"""What the demo says of its evaluations."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "demo.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(**metrics):
    shown = {
        "face_psnr_gain": 1.5,
        "speck_index": 1.07,
        "id_retrieval_top1": 0.845,
        "answer_retrieval_top1": 0.6,
        "copy_target_retrieval_top1": 0.01,
    }
    shown |= metrics
    intervals = {name: [value - 0.01, value + 0.01] for name, value in shown.items()}
    facts = {"image_size": 64, "step": 800, "stages": "AEI-Net and HEAR-Net"}
    return {**shown, **facts, "intervals": intervals}


def line_of(lines, label):
    (line,) = [line for line in lines if label in line]
    return " ".join(line.split())


def test_figures_stand_next_to_those_of_right_answers_and_copying(demo):
    lines = demo.summarise({"were trained here": record()})
    assert (
        "networks that were trained here (AEI-Net and HEAR-Net, 64 pixels, 800 steps)" in lines[1]
    )
    gain = line_of(lines, "gain over copying")
    assert gain.endswith("1.50 dB (1.49 dB to 1.51 dB) 0.00 dB")
    assert line_of(lines, "specks").endswith("1.070 (1.060 to 1.080) 1.000 1.000")
    assert line_of(lines, "recognised").endswith("84.5 % (83.5 % to 85.5 %) 60.0 % 1.0 %")
    assert not [line for line in lines if "HEAR-Net" in line and "the same" in line]
    assert not [line for line in lines if "pleases" in line]


def test_what_pleases_the_judge_is_said(demo):
    marked = record() | {"above_right_answers": {"id_retrieval_top1": "answer_retrieval_top1"}}
    lines = demo.summarise({"come with the package": marked, "were trained here": record()})
    assert [line for line in lines if "pleases" in line] == [
        "  ! id_retrieval_top1: 84.5 % pleases the judge: above the right answers' 60.0 % "
        "(59.0 % to 61.0 %)"
    ]


def test_a_copy_without_networks_says_so_at_once(demo, tmp_path, monkeypatch):
    from faceshifter_jax.networks import shipped

    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SystemExit, match="comes without the trained networks aei, hear, identity, judge"
    ):
        demo.main()
    assert list(tmp_path.iterdir()) == []
