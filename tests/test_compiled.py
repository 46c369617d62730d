"""Compiled kernels where nothing can be kept for the next process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "faceshifter_jax"
# Reads a PNG of 16 bits, which takes one small kernel, and loads the modules of the others.
CODE = """
import numpy as np
from faceshifter_jax.data import kernels
from faceshifter_jax.faces import warp
from faceshifter_jax.media.png16 import read_png16, write_png16
from faceshifter_jax.synthetic import model, raster, shading
write_png16("a.png", np.arange(48, dtype=np.uint16).reshape(4, 4, 3))
print(read_png16("a.png").sum(), kernels.__file__)
"""


def test_a_read_only_installation_without_a_home_goes_on_without_a_cache(tmp_path):
    installed = tmp_path / "site" / PACKAGE.name
    shutil.copytree(PACKAGE, installed, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (installed, *(path.parent for path in installed.rglob("*.py"))):
        # A file where the folder would be: nobody can write into it, not even root.
        (folder / "__pycache__").touch()
    work = tmp_path / "work"
    work.mkdir()
    places = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "PYTHONPATH": tmp_path / "site"}
    environment = os.environ | {name: str(place) for name, place in places.items()}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(sum(range(48))), str(installed / "data" / "kernels.py")]
    assert [path.name for path in work.iterdir()] == ["a.png"]
