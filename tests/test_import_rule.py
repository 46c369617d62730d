"""Who may import whom: networks, losses and tasks stay free of files, loops and frameworks."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "faceshifter_jax"
NAME = PACKAGE.name
FRAMEWORKS = {"clu", "orbax", "tfds", "tensorflow_datasets", "tensorflow", "absl", "grain", "PIL"}
OUTER = {
    *("cli", "convert", "data", "evaluation", "provenance", "swapping", "synthetic", "tpu"),
    "training",
}


def imports_of(path: Path) -> set[str]:
    """All modules that a file imports, wherever in the file, by their full names."""
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            # `from faceshifter_jax import losses` imports faceshifter_jax.losses.
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def files_of(*names: str) -> list[Path]:
    files = []
    for name in names:
        path = PACKAGE / name
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    assert files
    return files


def part_of(module: str) -> str:
    """`models` of faceshifter_jax.models.layers; the top package of anything else."""
    top, *rest = module.split(".")
    return rest[0] if top == NAME and rest else top


def parameters(*names: str):
    files = files_of(*names)
    return pytest.mark.parametrize("path", files, ids=[str(f.relative_to(PACKAGE)) for f in files])


@parameters("models", "losses", "identity", "generator", "network", "tasks")
def test_inner_parts_import_no_framework_and_no_outer_part(path):
    modules = imports_of(path)
    assert {m.split(".")[0] for m in modules}.isdisjoint(FRAMEWORKS)
    assert {part_of(m) for m in modules if m.startswith(NAME)}.isdisjoint(OUTER)


@parameters("models", "losses", "identity", "generator", "network")
def test_networks_and_losses_know_nothing_of_tasks(path):
    assert "tasks" not in {part_of(m) for m in imports_of(path)}


@parameters("models")
def test_networks_import_nothing_else_of_the_package(path):
    ours = {part_of(m) for m in imports_of(path) if m.split(".")[0] == NAME}
    assert ours <= {"models", "errors"}


@parameters("training")
def test_training_knows_no_faces(path):
    ours = {part_of(m) for m in imports_of(path) if m.split(".")[0] == NAME}
    general = {"errors", "files", "network", "network_file", "unfinished"}
    assert ours <= {"training", "tasks", "data", *general}


@parameters("data")
def test_data_knows_nothing_of_training(path):
    ours = {part_of(m) for m in imports_of(path) if m.split(".")[0] == NAME}
    assert ours.isdisjoint({"tasks", "training", "models", "evaluation", "cli"})


@parameters("")
def test_evaluation_is_for_the_command_line_alone(path):
    if path.relative_to(PACKAGE).parts[0] not in ("evaluation", "cli.py"):
        assert "evaluation" not in {part_of(m) for m in imports_of(path)}


@parameters("synthetic")
def test_synthetic_faces_need_numpy_and_numba_alone(path):
    modules = imports_of(path)
    tops = {m.split(".")[0] for m in modules} - {NAME}
    assert tops <= {"numpy", "numba"} | set(sys.stdlib_module_names)
    ours = {part_of(m) for m in modules if m.split(".")[0] == NAME}
    assert ours <= {"synthetic", "errors"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import absl.flags", "absl.flags"),
        ("def f():\n    from clu import metrics", "clu.metrics"),
        ("from faceshifter_jax import training", "faceshifter_jax.training"),
        ("from ..training import loop", "faceshifter_jax.training.loop"),
        ("from . import layers", "faceshifter_jax.models.layers"),
    ],
)
def test_the_check_sees_every_way_to_import(source, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / NAME)
    path = tmp_path / NAME / "models" / "some.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert expected in imports_of(path)
