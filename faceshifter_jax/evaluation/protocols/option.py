"""Options of a protocol on the command line."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from faceshifter_jax.evaluation.features import RANGES
from faceshifter_jax.paths import local_path

OF_DATASET, OF_CHECKPOINT = "of the dataset", "of the checkpoint"
"""What a protocol's `ALIGNMENT` may be, besides the name of one."""


@dataclass(frozen=True)
class Option:
    """An option of a protocol; several protocols can have one of the same name and type.

    Attributes:
      name: as in `arguments`, such as `pose_range`.
      help: what it is, with its default in brackets.
      default: its value where it is not given.
      type: makes a value of its text.
      choices: the values that it can have, if they are few.
      metavar: what stands for its value in the help.
      needs: another option, without which this one has no effect.
    """

    name: str
    help: str
    default: Any = None
    type: Callable[[str], Any] = str
    choices: Collection[str] | None = None
    metavar: str | None = None
    needs: str = ""

    @property
    def flag(self) -> str:
        """As it is typed."""
        return f"--{self.name.replace('_', '-')}"


def onnx_options(name: str, help: str, default_range: str) -> tuple[Option, Option]:
    """The options for a network in an ONNX file: where it is, and how grey levels enter it."""
    ranges = "; ".join(f"{name}: {what}" for name, what in RANGES.items())
    return (
        Option(name, help, type=local_path, metavar="FILE.onnx"),
        Option(
            f"{name}_range",
            f"how grey levels enter it ({ranges}; {default_range})",
            default_range,
            choices=RANGES,
            needs=name,
        ),
    )
