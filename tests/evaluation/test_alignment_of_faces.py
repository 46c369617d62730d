"""A checkpoint is evaluated on faces that are aligned as it was trained, or the user says so."""

import argparse
import json

import pytest
from PIL import Image
from tiny_checkpoints import save_aei, save_identity
from tiny_tasks import SIZE

from faceshifter_jax import cli
from faceshifter_jax.data import prepare_embedded, prepare_folder
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.alignment import check_alignment, check_judge
from faceshifter_jax.evaluation.model import load_judge
from faceshifter_jax.evaluation.protocols import pairs
from faceshifter_jax.synthetic import render, sample_attributes, sample_identity


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two AEI-Nets of other alignments, their identity network, a judge, and datasets."""
    top = tmp_path_factory.mktemp("alignments")
    identity = save_identity(top / "identity", seed=5)
    save_identity(top / "judge", seed=6)
    save_aei(top / "usual", identity)
    save_aei(top / "ffhq", identity, alignment="ffhq")
    for number in range(6):
        (top / "photos" / str(number)).mkdir(parents=True)
        face = render(sample_identity(number), sample_attributes(number, occluder="none"), 32)
        Image.fromarray(face).save(top / "photos" / str(number) / "face.png")
    options = {"size": SIZE, "num_workers": 1}
    prepare_folder(top / "photos", top / "of_ffhq", alignment="ffhq", **options)
    prepare_folder(top / "photos", top / "unknown", **options)
    prepare_embedded(top / "rendered", num_identities=3, pictures_per_identity=2, seed=1, **options)
    return top


def evaluate(place, name, capsys, *words, data=None, judge="judge"):
    """The exit code, stderr and the warnings in metrics.json, if there is one."""
    output = place / "output"
    command = ["evaluate", "--checkpoint", place / name, "--judge", place / judge]
    if data:
        command += ["--data", place / data, "--pairs", "4"]
    else:
        command += ["--pairs", "3", "--identities", "2"]
    status = cli.main([*map(str, command), "--output", str(output), *words])
    said = capsys.readouterr()
    metrics = output / "metrics.json"
    warnings = json.loads(metrics.read_text())["warnings"] if metrics.exists() else None
    for file in sorted(output.rglob("*"), reverse=True) if output.exists() else ():
        file.unlink() if file.is_file() else file.rmdir()
    if output.exists():
        output.rmdir()
    return status, said.err, warnings


def test_faces_of_another_alignment_are_refused_with_what_to_do(place, capsys):
    status, said, warnings = evaluate(place, "ffhq", capsys)
    assert (status, warnings) == (2, None)
    assert (
        "was trained on faces aligned by ffhq, these faces are aligned by arcface: prepare" in said
    )
    assert (
        "--faces detect --alignment ffhq` and name that with --data; or add --other-align" in said
    )
    status, said, warnings = evaluate(place, "ffhq", capsys, data="rendered")
    assert (status, warnings) == (2, None)
    assert "prepare photos with `faceshifter prepare" in said
    status, said, warnings = evaluate(place, "usual", capsys, data="of_ffhq")
    assert (status, warnings) == (2, None)
    assert "prepare the photos again with --alignment arcface; or add --other-alignment" in said


def test_who_goes_on_all_the_same_reads_it_in_the_report(place, capsys):
    words = ("--other-alignment",)
    status, _, warnings = evaluate(place, "usual", capsys, *words, data="of_ffhq")
    assert status == 0
    of_checkpoint, of_judge = warnings
    assert of_checkpoint.endswith("aligned by ffhq: its swaps are worse than they should be")
    assert of_judge.endswith("by ffhq: its cosines are lower than they should be")


def test_a_judge_of_another_alignment_is_refused_unless_the_checkpoint_had_it(place, capsys):
    status, said, warnings = evaluate(place, "ffhq", capsys, data="of_ffhq")
    assert (status, warnings) == (2, None)
    assert "judge was trained on faces aligned by arcface, and sees the whole square" in said
    assert "name a judge that was trained on such faces; or add --other-alignment" in said
    judge = load_judge(str(place / "identity"), "ffhq")
    assert judge.mismatch
    arguments = argparse.Namespace(other_alignment=False)
    assert check_judge(arguments, judge, identity_sha256=judge.sha256) == []
    with pytest.raises(UserError, match="identity was trained on faces aligned by arcface"):
        check_judge(arguments, judge, identity_sha256="another")


@pytest.mark.parametrize(
    ("data", "wanted", "said"),
    [
        ("unknown", "arcface", None),
        ("unknown", "ffhq", "runs/aei was trained on faces aligned by ffhq, and nobody said how"),
        ("rendered", "taotaonice", None),
        ("of_ffhq", "ffhq", None),
        ("of_ffhq", "taotaonice", UserError),
    ],
)
def test_what_a_dataset_says_of_its_faces_decides(place, data, wanted, said):
    arguments = argparse.Namespace(checkpoint="runs/aei", data=place / data, other_alignment=False)
    if said is UserError:
        with pytest.raises(UserError, match="prepare the photos again with --alignment taotaonice"):
            check_alignment(arguments, pairs, wanted)
        return
    warnings = check_alignment(arguments, pairs, wanted)
    assert [warning.startswith(said) for warning in warnings] == ([True] if said else [])
