"""`faceshifter render`: embedded faces become a dataset."""

import argparse

from faceshifter_jax.paths import local_path

EXAMPLES = (
    "faceshifter render data/rendered --identities 400 --pictures 12 --size 64",
    "faceshifter render data/answers --identities 800 --group-size 8 --size 128 --seed 1",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "out", metavar="OUT", type=local_path, help="directory of the dataset to write"
    )
    parser.add_argument("--identities", type=int, default=400, help="number of people")
    parser.add_argument("--pictures", type=int, default=12, help="pictures of each")
    parser.add_argument(
        "--group-size",
        type=int,
        default=1,
        metavar="K",
        help="render the people in groups of K, all of a group under the same attributes (pose, "
        "light, hair, occluder, ...), so that the right answer of a swap inside a group is a "
        "picture of the dataset, as config.data.answer_share asks for; 1: everyone under "
        "attributes of their own",
    )
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other people")
    parser.add_argument(
        "--occluders", type=float, default=0.25, help="share of covered faces, 0 to 1"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset in OUT")
    parser.add_argument("--num-workers", type=int, help="processes (default: one a core)")


def run(arguments: argparse.Namespace) -> None:
    """Renders the dataset."""
    # Not at the top: numba takes seconds, and --help needs none of it.
    from faceshifter_jax.data.preparation.prepare import prepare_embedded
    from faceshifter_jax.data.prepared import PreparedDataset

    out = prepare_embedded(
        arguments.out,
        num_identities=arguments.identities,
        pictures_per_identity=arguments.pictures,
        group_size=arguments.group_size,
        size=arguments.size,
        seed=arguments.seed,
        occluder_share=arguments.occluders,
        overwrite=arguments.overwrite,
        num_workers=arguments.num_workers,
    )
    print(PreparedDataset(out).summary())
