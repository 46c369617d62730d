"""`faceshifter compare`: compares evaluations, or faces in photos, depending on the arguments."""

import argparse
import contextlib
from pathlib import Path

from faceshifter_jax.checkpoints.reading import DIRECTORY
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.compare import Result, compare_results, find_result, name_apart
from faceshifter_jax.evaluation.protocols.registry import PROTOCOLS
from faceshifter_jax.evaluation.report.side_by_side import Evaluation, draw_side_by_side
from faceshifter_jax.files import publish_file
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
        help="for photos: workdir of an arcface training run, or a converted network",
    )
    parser.add_argument(
        "--protocol", help="for evaluations: which one, where a workdir has several"
    )
    parser.add_argument("--output", type=local_path, help="table to write, as CSV")
    parser.add_argument(
        "--report",
        type=local_path,
        metavar="FILE.html",
        help="for evaluations: page to write that shows them side by side, with pictures",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing OUTPUT and FILE.html"
    )


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
        _compare_evaluations(arguments)
        return
    if arguments.report:
        raise UserError("--report has no effect on photos: leave it out")
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


def _compare_evaluations(arguments: argparse.Namespace) -> None:
    output, report = arguments.output, arguments.report
    if output and report and Path(output).absolute() == Path(report).absolute():
        raise UserError(f"--output and --report are both {report}: name another file for one")
    found = [find_result(Path(thing), arguments.protocol) for thing in arguments.things]
    results = name_apart(found)
    with contextlib.ExitStack() as stack:
        beside = None
        if report:
            beside = stack.enter_context(publish_file(report, overwrite=arguments.overwrite))
        lines = compare_results(results, output, arguments.overwrite)
        if beside:
            beside.write_text(_draw_page(results), encoding="utf-8", errors="backslashreplace")
            lines.append(f"wrote {report}")
    print("\n".join(map(printable, lines)))


def _draw_page(results: list[Result]) -> str:
    protocol = PROTOCOLS.get(results[0].record["protocol"])
    if protocol is None:
        raise UserError(f"no protocol is called {results[0].record['protocol']!r}")
    pictures = [result.directory / "report.png" for result in results]
    evaluations = [
        Evaluation(result.name, result.record, picture if picture.is_file() else None)
        for result, picture in zip(results, pictures, strict=True)
    ]
    return draw_side_by_side(evaluations, protocol.TABLES[0])


def _is_evaluation(path: Path) -> bool:
    if path.suffix in (".json", ".safetensors") or DIRECTORY in (path.name, path.parent.name):
        return True
    return any((path / name).exists() for name in ("metrics.json", "evaluation", DIRECTORY))
