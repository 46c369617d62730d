"""The known protocols: each is a module of this folder, named in `PROTOCOLS`.

A protocol has `NAME` and `VERSION`, which changes when the same checkpoint would get other
figures; `ALIGNMENT`, how its faces are aligned: a key of `faces.alignment.ALIGNMENTS`, `OF_DATASET`
(its `--data` is a prepared dataset, which says it) or `OF_CHECKPOINT` (it cuts them out as the
checkpoint wants, which `prepare` gets as `alignment`); `METRICS`, how its metrics are shown;
`HEADLINES` and `TABLES` for the report; `check_arguments(arguments)`, before anything is read;
`prepare(arguments, image_size) -> data`, whose `facts` say what the data are; and
`evaluate(data, subject, judge) -> Findings`. Its options are those that `options.OPTIONS` has under
its name.
"""

import argparse
from types import ModuleType

from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.protocols import faceforensics, ground_truth, pairs
from faceshifter_jax.evaluation.protocols.options import options_by_name
from faceshifter_jax.paths import local_path

PROTOCOLS = {module.NAME: module for module in (ground_truth, pairs, faceforensics)}


def common_settings() -> list[str]:
    """The options that all processes of an evaluation must have alike; of files the contents do."""
    return [
        name
        for name, options in options_by_name().items()
        if all(option.type is not local_path for option in options.values())
    ]


def choose_protocol(arguments: argparse.Namespace) -> ModuleType:
    """Returns the requested protocol, and fills in the defaults of its options.

    Raises:
      UserError: options of another protocol, or impossible values.
    """
    name = arguments.protocol or ("pairs" if arguments.data else "ground-truth")
    for option, options in options_by_name().items():
        own = options.get(name)
        if getattr(arguments, option) is None:
            setattr(arguments, option, own.default if own else None)
            continue
        flag = next(iter(options.values())).flag
        if own is None:
            raise UserError(f"{flag} has no effect on the protocol {name}: leave it out")
        if own.needs and not getattr(arguments, own.needs):
            raise UserError(f"{flag} has no effect without --{own.needs}: leave it out")
    PROTOCOLS[name].check_arguments(arguments)
    return PROTOCOLS[name]
