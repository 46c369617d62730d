"""Nothing but clu's writers and the MTCNN detector needs TensorFlow."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib.machinery, pkgutil, sys
from pathlib import Path


# As if it were not installed: the finder of installed packages does not find it.
where = sys.meta_path.index(importlib.machinery.PathFinder)


class Finder:
    find_distributions = importlib.machinery.PathFinder.find_distributions

    @staticmethod
    def find_spec(name, *more):
        if name != "tensorflow":
            return importlib.machinery.PathFinder.find_spec(name, *more)


sys.meta_path[where] = Finder
import faceshifter_jax

for module in pkgutil.walk_packages(faceshifter_jax.__path__, "faceshifter_jax."):
    importlib.import_module(module.name)

from faceshifter_jax.data import PreparedDataset, prepare_embedded

out = prepare_embedded(
    Path(sys.argv[1]), num_identities=2, pictures_per_identity=2, size=32, num_workers=1
)
dataset = PreparedDataset(out)
print(dataset.picture(3).shape, len(dataset), "tensorflow" in sys.modules)
"""


def test_every_module_is_imported_and_faces_are_rendered_without_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "faces")],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(32, 32, 3) 4 False"
