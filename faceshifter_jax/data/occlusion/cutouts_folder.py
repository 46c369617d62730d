"""Cut-outs from a folder of PNG files with alpha."""

import functools
import glob
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from faceshifter_jax.data.occlusion.cutouts import Cutout, crop_to_content, remember
from faceshifter_jax.errors import UserError
from faceshifter_jax.inputs import UnreadableFile
from faceshifter_jax.media.opening import open_picture, read_picture_file

_NAMED = 3


class FolderCutouts:
    """The PNG files below a folder, sorted by path, each decoded on first use."""

    def __init__(self, folder: str | Path, size: int):
        """Finds and checks the files; `size` is that of the pictures they will be laid over.

        Raises:
            UserError: no folder, no PNG file in it, or files that are broken or have nothing cut
                out.
        """
        self._folder = Path(folder)
        self._names = list_cutout_files(self._folder)
        check_cutout_files(self._folder, self._names)
        # The largest are drawn at half of this, so that `place` draws them sharp.
        self._longest_side = 3 * size // 2
        self._remembered = remember(self._read, self._longest_side)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Cutout:
        return self._remembered(index)

    def _read(self, index: int) -> Cutout:
        path = self._folder / self._names[index]
        pixels, problem = _decode(path)
        if pixels is None:
            raise UserError(f"data.occluders: {path} has changed: {problem}")
        pixels = crop_to_content(pixels)[0]
        shrunk = _shrink(pixels, self._longest_side)
        # A thing so thin that shrinking removes it is kept at its size.
        return Cutout(*crop_to_content(shrunk if shrunk[..., 3].any() else pixels))


def list_cutout_files(folder: Path) -> list[str]:
    """Lists the PNG files at any depth below a folder, by path below it; hidden ones are ignored.

    Raises:
        UserError: no folder, or no PNG file in it.
    """
    if not folder.is_dir():
        raise UserError(f"data.occluders: there is no folder {folder}")
    names = glob.glob("**/*.[pP][nN][gG]", root_dir=folder, recursive=True)
    if not names:
        raise UserError(f"data.occluders: the folder {folder} holds no PNG file")
    return sorted(names)


def check_cutout_files(folder: Path, names: list[str]) -> None:
    """Decodes all files once.

    Raises:
        UserError: some have no alpha or one that cuts nothing out, or are broken; names the first.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = list(pool.map(lambda name: _problem_of_file(folder / name), names))
    bad = [f"{name} ({what})" for name, what in zip(names, problems, strict=True) if what]
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise UserError(
            f"data.occluders: {len(bad)} of the {len(names)} PNG files in {folder} cannot be used: "
            f"{', '.join(bad[:_NAMED])}{more}: cut-outs need an alpha channel that is 0 around the "
            "thing"
        )


def _problem_of_file(path: Path) -> str | None:
    try:
        facts = path.stat()
    except OSError as error:
        return error.strerror
    return _problem_of_version(path, facts.st_mtime_ns, facts.st_size)


# A training builds two loaders, one for its sample grid: the cache decodes the files only once.
@functools.cache
def _problem_of_version(path: Path, _changed: int, _bytes: int) -> str | None:
    return _decode(path)[1]


def _decode(path: Path) -> tuple[np.ndarray | None, str | None]:
    """Returns uint8 (height, width, 4), RGBA, or None and what is wrong with the file."""
    try:
        with warnings.catch_warnings():
            # Pillow warns about odd metadata; only the pixels matter here.
            warnings.simplefilter("ignore")
            with open_picture(read_picture_file(path), suffix=path.suffix) as image:
                if not image.has_transparency_data:
                    return None, "no alpha channel"
                pixels = np.array(image.convert("RGBA"))
    except MemoryError:
        raise
    except UnreadableFile as error:
        return None, error.reason
    except Exception as error:
        # Pillow raises nearly anything for broken files: OSError, SyntaxError, struct.error, ...
        return None, f"cannot be read, {type(error).__name__}"
    alpha = pixels[..., 3]
    if not alpha.any():
        return None, "alpha is 0 everywhere"
    if alpha.min() == 255:
        return None, "alpha is 255 everywhere"
    return pixels, None


def _shrink(pixels: np.ndarray, longest_side: int) -> np.ndarray:
    factor = longest_side / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
    return np.array(image)
