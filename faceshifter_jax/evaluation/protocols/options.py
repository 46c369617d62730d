"""The options of the protocols on the command line, known without loading a protocol."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from faceshifter_jax.paths import local_path

RANGES = {
    "unit": "0 to 1",
    "signed": "-1 to 1",
    "bytes": "0 to 255",
    "imagenet": "0 to 1, less ImageNet's mean, by its deviation",
}
"""Ranges in which grey levels enter a network: name -> description."""

OF_DATASET, OF_CHECKPOINT = "of the dataset", "of the checkpoint"
"""What a protocol's `ALIGNMENT` may be, besides the name of one."""


@dataclass(frozen=True)
class Option:
    """An option of a protocol; several protocols can have one of the same name and type.

    Attributes:
      name: as in `arguments`, such as `pose_range`.
      help: what it is.
      default: its value where it is not given.
      type: makes a value of its text.
      choices: the values that it can have, if they are few.
      metavar: what stands for its value in the help.
      without: what is used where it is not given and has no value as a default.
      needs: another option, without which this one has no effect.
    """

    name: str
    help: str
    default: Any = None
    type: Callable[[str], Any] = str
    choices: Collection[str] | None = None
    metavar: str | None = None
    without: str = ""
    needs: str = ""

    @property
    def flag(self) -> str:
        """As it is typed."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def described(self) -> str:
        """Its help with its default."""
        default = self.without or ("" if self.default is None else self.default)
        return f"{self.help} (default: {default})" if default else self.help


def _onnx_options(
    name: str, help: str, default_range: str, without: str = ""
) -> tuple[Option, Option]:
    """The options for a network in an ONNX file: where it is, and how grey levels enter it."""
    ranges = "; ".join(f"{name}: {what}" for name, what in RANGES.items())
    return (
        Option(name, help, type=local_path, metavar="FILE.onnx", without=without),
        Option(
            f"{name}_range",
            f"how grey levels enter it, {ranges}",
            default_range,
            choices=RANGES,
            needs=name,
        ),
    )


OPTIONS: dict[str, tuple[Option, ...]] = {
    "ground-truth": (
        Option("pairs", "number of swaps", 200, int),
        Option("identities", "people among them", 100, int),
    ),
    "pairs": (
        Option("data", "a prepared dataset", type=local_path),
        Option("pairs", "number of swaps", 1000, int),
        *_onnx_options(
            "features",
            "network for the distances between sets, such as InceptionV3",
            "unit",
            without="the judge",
        ),
    ),
    "faceforensics": (
        Option("data", "a FaceForensics++ folder", type=local_path),
        Option("split", "list in splits/", "test"),
        Option("compression", "folder of the videos", "c23"),
        *_onnx_options("pose", "estimator of head poses, as Hopenet", "imagenet"),
        *_onnx_options("expression", "estimator of expressions", "unit"),
        Option(
            "expression_part",
            "the numbers of its output that are the expression, as 80:144",
            ":",
            metavar="FROM:TO",
            without="all",
            needs="expression",
        ),
    ),
}
"""Name of a protocol -> its options."""


def options_by_name() -> dict[str, dict[str, Option]]:
    """Name of an option -> protocol -> the option as that protocol has it."""
    found: dict[str, dict[str, Option]] = {}
    for protocol, options in OPTIONS.items():
        for option in options:
            found.setdefault(option.name, {})[protocol] = option
    return found
