"""What can be measured: each protocol is a module.

A protocol has `NAME` and `VERSION`, which changes when the same checkpoint would get other
figures; `DEFAULT_PAIRS` where the number of pairs can be chosen; `HEADLINES` and `TABLES` for the
report; `check_arguments(arguments)`, before anything is read; `prepare(arguments, image_size) ->
data`, whose `facts` say what the data are; and `evaluate(data, subject, judge) -> Findings`.
"""

import argparse
from types import ModuleType

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.features import RANGES
from faceshifter_jax.evaluation.protocols import faceforensics, ground_truth, pairs
from faceshifter_jax.paths import local_path

PROTOCOLS = {module.NAME: module for module in (ground_truth, pairs, faceforensics)}

# Option -> (the protocols that it is for, its default).
_OPTIONS = {
    "data": (("pairs", "faceforensics"), None),
    "pairs": (("ground-truth", "pairs"), None),
    "identities": (("ground-truth",), 100),
    "features": (("pairs",), None),
    "features_range": (("pairs",), "unit"),
    "split": (("faceforensics",), "test"),
    "compression": (("faceforensics",), "c23"),
    "pose": (("faceforensics",), None),
    "pose_range": (("faceforensics",), "imagenet"),
    "expression": (("faceforensics",), None),
    "expression_range": (("faceforensics",), "unit"),
    "expression_part": (("faceforensics",), ":"),
}
_NEEDS = {
    "features_range": "features",
    "pose_range": "pose",
    "expression_range": "expression",
    "expression_part": "expression",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the protocols can be told."""
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="what to measure (ground-truth, or pairs where --data is given)",
    )
    parser.add_argument("--pairs", type=int, help="number of swaps (200; protocol pairs: 1000)")
    parser.add_argument("--identities", type=int, help="ground-truth: people among them (100)")
    parser.add_argument(
        "--data",
        type=local_path,
        help="pairs: a prepared dataset; faceforensics: a FaceForensics++ folder",
    )
    ranges = "; ".join(f"{name}: {what}" for name, what in RANGES.items())
    parser.add_argument(
        "--features",
        type=local_path,
        metavar="FILE.onnx",
        help="pairs: network for the distances between sets, such as InceptionV3 (the judge)",
    )
    parser.add_argument(
        "--features-range", choices=RANGES, help=f"how grey levels enter it ({ranges}; unit)"
    )
    parser.add_argument("--split", help="faceforensics: list in splits/ (test)")
    parser.add_argument("--compression", help="faceforensics: folder of the videos (c23)")
    parser.add_argument(
        "--pose",
        type=local_path,
        metavar="FILE.onnx",
        help="faceforensics: estimator of head poses, as Hopenet",
    )
    parser.add_argument("--pose-range", choices=RANGES, help="how grey levels enter it (imagenet)")
    parser.add_argument(
        "--expression",
        type=local_path,
        metavar="FILE.onnx",
        help="faceforensics: estimator of expressions",
    )
    parser.add_argument(
        "--expression-range", choices=RANGES, help="how grey levels enter it (unit)"
    )
    parser.add_argument(
        "--expression-part",
        metavar="FROM:TO",
        help="the numbers of its output that are the expression (all), as 80:144",
    )


def choose_protocol(arguments: argparse.Namespace) -> ModuleType:
    """Returns the protocol that is asked for, and fills in what was not said of it.

    Raises:
      UserError: options of another protocol, or values that make no evaluation.
    """
    name = arguments.protocol or ("pairs" if arguments.data else "ground-truth")
    protocol = PROTOCOLS[name]
    for option, (protocols, default) in _OPTIONS.items():
        given = getattr(arguments, option) is not None
        shown = f"--{option.replace('_', '-')}"
        if given and name not in protocols:
            raise UserError(f"{shown} has no effect on the protocol {name}: leave it out")
        needed = _NEEDS.get(option)
        if given and needed and not getattr(arguments, needed):
            raise UserError(f"{shown} has no effect without --{needed}: leave it out")
        if not given:
            setattr(arguments, option, default)
    if arguments.pairs is None:
        arguments.pairs = getattr(protocol, "DEFAULT_PAIRS", None)
    protocol.check_arguments(arguments)
    return protocol
