"""What pip installs: the wheel holds the whole product, and works in an environment of its own."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(*words, **options):
    result = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, **options
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution and the wheel, which is made of it."""
    out = tmp_path_factory.mktemp("dist")
    # From a copy, so that no build/ of an earlier day gets into it.
    checkout = tmp_path_factory.mktemp("checkout")
    files = call("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    call(sys.executable, "-m", "build", "--outdir", out, checkout)
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, source


def tracked(*folders):
    return set(call("git", "ls-files", *folders, cwd=ROOT).split())


def test_the_wheel_holds_the_package_and_the_configs_once(built):
    wheel, source = built
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    configs = {f"faceshifter_jax/{name}" for name in tracked("configs")}
    assert held == tracked("faceshifter_jax") | configs
    assert "faceshifter_jax/configs/aei.py" in held
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    needed = [line.split()[1] for line in needed if "extra ==" not in line]
    assert any(name.startswith("jax>=") for name in needed)
    assert not any(name.startswith(("tensorflow>", "tensorflow-cpu", "torch")) for name in needed)
    assert "License-Expression: Apache-2.0" in metadata
    assert "Classifier: Programming Language :: Python :: 3.13" in metadata
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"train.py", "configs/aei.py", "constraints.txt", "docs/settings.md"} <= names


@pytest.mark.slow
def test_the_wheel_works_in_an_environment_of_its_own(built, tmp_path):
    wheel, _ = built
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    call(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[swap]")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["PATH"] = f"{tmp_path}/venv/bin:{environment['PATH']}"

    def faceshifter(*words):
        command = tmp_path / "venv/bin/faceshifter"
        return call(command, *words, cwd=tmp_path, env=environment)

    found = call(python, "-m", "pip", "list", "--format=json")
    names = {package["name"].lower() for package in json.loads(found)}
    assert not names & {"torch", "tensorflow", "tensorflow-cpu"}
    groups = ("--identities", "8", "--group-size", "4")
    faceshifter("render", "data", *groups, "--pictures", "3", "--size", "64")
    steps = ("--config.num_steps=2", "--config.batch_size=2", "--config.sample_every_steps=2")
    faceshifter(
        *("train", "--config", "aei:demo", "--workdir", "aei", "--config.data.path=data"),
        *("--config.identity.weights=shipped:identity", *steps),
    )
    faceshifter(
        *("evaluate", "--checkpoint", "aei", "--judge", "shipped:judge"),
        *("--pairs", "7", "--identities", "3", "-o", "report"),
    )
    assert (tmp_path / "report/report.html").is_file()
    code = (
        "from faceshifter_jax.data import PreparedDataset; from PIL import Image\n"
        "d = PreparedDataset('data')\n"
        "[Image.fromarray(d.picture(i)).save(f'{i}.png') for i in (0, 5)]"
    )
    call(python, "-c", code, cwd=tmp_path, env=environment)
    faceshifter(
        *("swap", "-s", "0.png", "-t", "5.png", "-o", "swap.png", "--checkpoint", "aei"),
        "--aligned",
    )
    assert "swapped by faceshifter_jax" in faceshifter("inspect", "swap.png")


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "notebooks/demo.ipynb", 4)
    small = {"SOURCE": '""', "STEPS": 2, "PEOPLE, PICTURES, SIZE": "24, 3, 64", "BATCH": 4}
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    lines = (line.partition(" = ") for line in cell.source.splitlines())
    cell.source = "\n".join(f"{name} = {small.get(name, value)}" for name, _, value in lines)
    os.environ["PYTHONPATH"] = str(ROOT)
    client = NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": tmp_path}})
    client.execute()
    shown = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(shown) == 2
    text = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", ()))
    assert "nearer" in text
