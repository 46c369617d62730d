"""The page of `faceshifter ui`: the real process, driven through its interface."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from faceshifter_jax.cli import main
from faceshifter_jax.media.provenance.reading import read_provenance
from faceshifter_jax.swapping.page_swaps import FACES
from faceshifter_jax.synthetic import render, sample_attributes, sample_identity


def test_without_gradio_one_line_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["ui"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'faceshifter-jax[ui]'" in error


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="pip install 'faceshifter-jax[ui]'"
)
def test_two_photos_become_a_marked_swap(tmp_path):
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    names = []
    for number in (1, 2):
        face = render(sample_identity(number), sample_attributes(number, occluder="none"), 256)
        names.append(tmp_path / f"{number}.png")
        Image.fromarray(face).save(names[-1])
    command = [sys.executable, "-u", "-m", "faceshifter_jax", "ui"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = None
            while found is None:
                line = process.stdout.readline()
                assert line, "the process ended"
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
            client = Client(found[0], verbose=False, download_files=tmp_path)
            photos = [handle_file(name) for name in names]
            rest = (next(iter(FACES)), 1.0, True)
            with pytest.raises(AppError, match="consent"):
                client.predict(*photos, *rest, False, api_name="/swap")
            no_face = tmp_path / "grey.png"
            Image.new("RGB", (128, 128), (90, 90, 90)).save(no_face)
            with pytest.raises(AppError, match="no face was found"):
                client.predict(photos[0], handle_file(no_face), *rest, True, api_name="/swap")
            _, result = client.predict(*photos, *rest, True, api_name="/swap")
            provenance = read_provenance(result)
            assert provenance is not None
            assert provenance.software == "faceshifter_jax"
            target = np.asarray(Image.open(names[1])).astype(int)
            changed = np.abs(np.asarray(Image.open(result).convert("RGB")) - target).max(-1)
            assert (changed > 8).mean() > 0.01
            assert changed[:4].max() == 0
        finally:
            process.terminate()
            process.wait(60)
