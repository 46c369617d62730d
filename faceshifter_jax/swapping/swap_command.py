"""`faceshifter swap`: faces of photographs into others, and into animations and videos."""

import argparse
import contextlib
from pathlib import Path

from faceshifter_jax.messages import printable
from faceshifter_jax.swapping import folder_command, swap_arguments, swap_inputs
from faceshifter_jax.swapping.output_pattern import fill_pattern, is_pattern
from faceshifter_jax.swapping.swap_arguments import explanation_places
from faceshifter_jax.swapping.video import video_command


def run(arguments: argparse.Namespace) -> None:
    """Swaps and writes the results."""
    swap_arguments.check(arguments)
    if Path(arguments.target).is_dir():
        folder_command.run(arguments)
        return
    _fill_patterns(arguments)
    if video_command.is_film(arguments.target, arguments.output):
        video_command.run(arguments)
        return
    video_command.check_for_photo(arguments)
    _swap_one(arguments)


def _fill_patterns(arguments: argparse.Namespace) -> None:
    """Puts the target's name and the source's into the names of outputs."""
    target = Path(arguments.target)
    for name in ("output", "save_error", "save_masks"):
        place = getattr(arguments, name)
        if place is None or not is_pattern(place):
            continue
        written = folder_command.output_name(target.parent, target.name)
        filled = fill_pattern(
            place,
            target.name,
            suffix=Path(written).suffix if name == "output" else ".png",
            source=arguments.source[0] if arguments.source else None,
            number=1,
        )
        filled.parent.mkdir(parents=True, exist_ok=True)
        setattr(arguments, name, str(filled))


def _swap_one(arguments: argparse.Namespace) -> None:
    places = {"output": arguments.output} | explanation_places(arguments)
    # It renames the last one first: an output that is there has all of its explanations.
    with contextlib.ExitStack() as stack:
        writes = {
            name: stack.enter_context(swap_inputs.publish(place, arguments))
            for name, place in places.items()
        }
        target = swap_inputs.load_as("the target", arguments.target)
        options = {"explain": len(places) > 1, "strength": arguments.strength}
        if arguments.aligned:
            source = swap_inputs.load_sources(arguments.source)
            swapper = swap_inputs.load_swapper(arguments)
            swap = swapper.swap_squares(source, target, **options)
        else:
            assign = swap_inputs.read_assignment(arguments)
            swapper = swap_inputs.load_swapper(arguments)
            swap = swapper.swap_photo(assign(swapper), target, **options)
        provenance = swap_inputs.provenance_of(swapper, arguments)
        swap_inputs.tell(swap_inputs.write_all(swap, writes, provenance))
    for place in places.values():
        print(printable(f"wrote {place}"))
