"""`faceshifter train`: what train.py does, for those who installed the package."""

import argparse

EXAMPLES = (
    "faceshifter train --config aei --workdir runs/aei --config.data.path=data/photos",
    "faceshifter train --config mine.py --workdir runs/mine --config.batch_size=8",
    "faceshifter train --config aei:improved --settings",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments; unknown ones change the config."""
    parser.usage = "faceshifter train --config CONFIG --workdir DIR [--config.KEY=VALUE ...]"
    parser.epilog = "--config.KEY=VALUE changes a setting, such as --config.batch_size=8."
    parser.add_argument(
        "--config",
        required=True,
        help="a config that comes with the package, aei, hear or arcface, or a file such as "
        "configs/aei.py; or a variant of either, aei:demo",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="directory for checkpoints, samples and logs; a training run found there is continued",
    )
    parser.add_argument(
        "--settings", action="store_true", help="print all settings of CONFIG, and exit"
    )
    parser.set_defaults(config_flags=[])


def run(arguments: argparse.Namespace) -> int:
    """Trains; returns the exit code."""
    # Not at the top: --help needs none of it.
    from faceshifter_jax.training.config import describe_settings
    from faceshifter_jax.training.main import main

    flags = [f"--config={arguments.config}"]
    if arguments.settings:
        print(describe_settings(["faceshifter train", *flags]).strip())
        return 0
    if arguments.workdir is not None:
        flags.append(f"--workdir={arguments.workdir}")
    return main(["faceshifter train", *flags, *arguments.config_flags])
