"""Curves and pictures on Weights & Biases (`config.wandb`), where its package is installed."""

import importlib.util
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.files import write_text

RUN_FILE = "wandb_run.txt"


def check_wandb(project: str) -> None:
    """Checks that a run can be shown there; "" is no project, and needs nothing.

    Raises:
      UserError: the package is not installed.
    """
    if project and importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"config.wandb is {project!r}, but wandb is not installed: "
            "pip install 'faceshifter-jax[wandb]'"
        )


class WandbWriter:
    """Writes what clu's writers write, to a run that a continued training run goes on with."""

    def __init__(self, workdir: Path, project: str, config: Mapping[str, Any]):
        """
        Args:
          workdir: holds the run's identifier, and its files if it is offline.
          project: its project.
          config: all settings, to be shown next to the curves.

        Raises:
          UserError: nobody is logged in, or the service refuses or does not answer.
        """
        import wandb

        named = workdir / RUN_FILE
        identifier = named.read_text().strip() if named.exists() else secrets.token_hex(4)
        try:
            self._run = wandb.init(
                project=project,
                id=identifier,
                resume="allow",
                name=workdir.name,
                dir=workdir,
                config=dict(config),
                # Its lines are those of this program's log.
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.Error as error:
            line = " ".join(str(error).split())
            raise UserError(
                f"config.wandb: {line} (log in by `wandb login`, or set WANDB_MODE=offline)"
            ) from error
        write_text(named, identifier + "\n")
        self._to_picture = wandb.Image

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes numbers by name."""
        self._run.log({name: float(value) for name, value in scalars.items()}, step=step)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Writes pictures (N, H, W, 3), uint8, or float32 in [0, 1], by name."""
        pictures = {
            name: [self._to_picture(picture) for picture in batch] for name, batch in images.items()
        }
        self._run.log(pictures, step=step)

    def close(self) -> None:
        """Sends what is left."""
        self._run.finish()
