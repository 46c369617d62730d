"""`faceshifter compare`: compares evaluations, or faces in photos, depending on the arguments."""

import argparse
import contextlib
import json
from pathlib import Path

from faceshifter_jax.checkpoints.reading import DIRECTORY
from faceshifter_jax.errors import UserError
from faceshifter_jax.evaluation.compare import Result, compare_results, find_result, name_apart
from faceshifter_jax.evaluation.protocols.registry import PROTOCOLS
from faceshifter_jax.evaluation.report.side_by_side import Evaluation, draw_side_by_side
from faceshifter_jax.files import publish_file
from faceshifter_jax.messages import printable


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
    from faceshifter_jax.evaluation.compare_faces import compare_faces

    compare_faces(
        arguments.things,
        arguments.identity,
        arguments.output,
        overwrite=arguments.overwrite,
        as_json=arguments.json,
    )


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
        lines, record = compare_results(results, output, arguments.overwrite)
        if beside:
            beside.write_text(_draw_page(results), encoding="utf-8", errors="backslashreplace")
    if arguments.json:
        print(json.dumps(record, indent=2, allow_nan=False))
        return
    written = [f"wrote {place}" for place in (output, report) if place]
    print("\n".join(map(printable, [*lines, *written])))


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
