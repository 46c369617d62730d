"""Who may import whom: arrows run one way, and networks, losses and tasks need no framework."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "faceshifter_jax"
NAME = PACKAGE.name
FRAMEWORKS = {"clu", "orbax", "tfds", "tensorflow_datasets", "tensorflow", "absl", "grain", "PIL"}
GENERAL = {"compiled", "errors", "files", "inputs", "logs", "messages", "paths", "places"}
# The house: each part, in the order of the arrows, and what it may import besides itself.
MAY_IMPORT = {
    "compiled": set(),
    "errors": set(),
    "messages": set(),
    "paths": {"errors"},
    "logs": {"messages"},
    "places": {"errors"},
    "files": {"errors", "places"},
    "inputs": {"errors", "places"},
    "models": {"errors"},
    "losses": {"errors"},
    "networks": {"models", *GENERAL},
    "tasks": {"models", "losses", "networks", *GENERAL},
    "runtime": GENERAL,
    "checkpoints": {"networks", "runtime", *GENERAL},
    "synthetic": {"compiled", "errors"},
    "media": {"runtime", *GENERAL},
    "faces": {"models", "media", *GENERAL},
    "data": {"synthetic", "media", "faces", "runtime", *GENERAL},
    "training": {"tasks", "networks", "checkpoints", "runtime", "data", "media", *GENERAL},
    "convert": {"models", "networks", "checkpoints", *GENERAL},
    "swapping": {"models", "networks", "checkpoints", "runtime", "faces", "media", *GENERAL},
    "evaluation": {
        *("networks", "checkpoints", "runtime", "synthetic", "media", "faces", "data"),
        *("swapping", *GENERAL),
    },
    "devices": {"models", "networks", "tasks", "checkpoints", "runtime", "training", *GENERAL},
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


@parameters("models", "losses", "networks", "tasks")
def test_inner_parts_import_no_framework(path):
    assert {m.split(".")[0] for m in imports_of(path)}.isdisjoint(FRAMEWORKS)


@parameters(*MAY_IMPORT)
def test_arrows_run_one_way(path):
    part = path.relative_to(PACKAGE).with_suffix("").parts[0]
    ours = {part_of(m) for m in imports_of(path) if m.split(".")[0] == NAME}
    assert ours <= {part, NAME, "__version__", *MAY_IMPORT[part]}


def test_every_part_has_a_rule():
    parts = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")}
    assert parts - {"__init__", "__main__", "cli"} == set(MAY_IMPORT)


@parameters("synthetic")
def test_synthetic_faces_need_numpy_and_numba_alone(path):
    modules = imports_of(path)
    tops = {m.split(".")[0] for m in modules} - {NAME}
    assert tops <= {"numpy", "numba"} | set(sys.stdlib_module_names)


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
