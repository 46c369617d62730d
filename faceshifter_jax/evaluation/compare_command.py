"""`faceshifter compare`: evaluations side by side, or faces in photos, by what it is given."""

import argparse
from pathlib import Path

from faceshifter_jax.checkpoints.manager import DIRECTORY
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.compare import compare_results, find_result, name_apart
from faceshifter_jax.messages import printable
from faceshifter_jax.paths import local_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "things",
        type=local_path,
        metavar="THING",
        nargs="+",
        help="evaluations: workdirs, checkpoints or metrics.json files, the first one being what "
        "the others are compared with; or photos, or folders of them",
    )
    parser.add_argument(
        "--identity",
        type=local_path,
        help="for photos: workdir of an arcface training, or a converted network",
    )
    parser.add_argument(
        "--protocol", help="for evaluations: which one, where a workdir has several"
    )
    parser.add_argument("--output", type=local_path, help="table to write, as CSV")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")


def run(arguments: argparse.Namespace) -> None:
    """Compares."""
    for thing in map(Path, arguments.things):
        # The evaluation of a checkpoint outlives it.
        outlived = thing.parent.name == DIRECTORY and thing.parent.exists()
        if not thing.exists() and not outlived:
            raise UserError(f"{thing} does not exist")
    kinds = {_is_evaluation(Path(thing)) for thing in arguments.things}
    if len(kinds) > 1:
        raise UserError("evaluations and photos cannot be compared with each other")
    if kinds == {True}:
        if arguments.identity:
            raise UserError("--identity has no effect on evaluations: leave it out")
        results = [find_result(Path(thing), arguments.protocol) for thing in arguments.things]
        lines = compare_results(name_apart(results), arguments.output, arguments.overwrite)
        print("\n".join(map(printable, lines)))
        return
    if arguments.protocol:
        raise UserError("--protocol has no effect on photos: leave it out")
    if not arguments.identity:
        raise UserError("photos are compared by an identity network: name one with --identity")
    from faceshifter_jax.evaluation import compare_faces

    photos = argparse.Namespace(
        pictures=arguments.things,
        identity=arguments.identity,
        output=arguments.output,
        overwrite=arguments.overwrite,
    )
    compare_faces.run(photos)


def _is_evaluation(path: Path) -> bool:
    if path.suffix in (".json", ".safetensors") or DIRECTORY in (path.name, path.parent.name):
        return True
    return any((path / name).exists() for name in ("metrics.json", "evaluation", DIRECTORY))
