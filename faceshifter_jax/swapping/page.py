"""The page of `faceshifter ui`, by Gradio."""

import importlib
import tempfile
from pathlib import Path
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.swapping.page_swaps import CONSENT, FACES, PageSwaps

_KEPT_SECONDS = 3600  # for which photos and results stay in Gradio's cache


def serve(swaps: PageSwaps, host: str, port: int | None) -> None:
    """Serves the page until the process is stopped.

    Args:
      swaps: the networks.
      host, port: where to listen; None for the first free port from 7860 on.

    Raises:
      UserError: gradio is missing or does not fit the other packages.
      OSError: the port is taken.
    """
    gradio = import_gradio()
    with tempfile.TemporaryDirectory() as folder:
        page = build_page(gradio, swaps, Path(folder))
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            allowed_paths=[folder],
            footer_links=["api"],
        )


def build_page(gradio: Any, swaps: PageSwaps, folder: Path) -> Any:
    """Builds the page, a `gradio.Blocks`; results are written to the folder."""

    def swap(source: Any, target: Any, *options: Any) -> tuple[Any, str]:
        try:
            result = str(swaps.swap(source, target, *options, folder=folder))
        except UserError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        return (target, result), result

    with gradio.Blocks(
        title="faceshifter", delete_cache=(_KEPT_SECONDS, _KEPT_SECONDS), analytics_enabled=False
    ) as page:
        gradio.Markdown("# faceshifter\nPuts the face of one photo into another.")
        with gradio.Row():
            photos = [
                gradio.Image(label=label, type="filepath", sources=["upload", "webcam"])
                for label in ("source: who is to be seen", "target: where")
            ]
        with gradio.Row():
            faces = gradio.Radio(list(FACES), value=next(iter(FACES)), label="replaced")
            strength = gradio.Slider(0, 1, value=1, step=0.05, label="strength")
            second = gradio.Checkbox(
                value=swaps.has_second_stage,
                interactive=swaps.has_second_stage,
                label="second stage (HEAR-Net)",
            )
        agreed = gradio.Checkbox(value=False, label=CONSENT)
        button = gradio.Button("swap", variant="primary")
        shown = gradio.ImageSlider(label="target and result", type="filepath", interactive=False)
        download = gradio.File(label="result; its metadata say that it was swapped")
        # One swap at a time: others wait in line.
        button.click(
            swap,
            [*photos, faces, strength, second, agreed],
            [shown, download],
            api_name="swap",
            concurrency_limit=1,
        )
    return page


def import_gradio() -> Any:
    """Returns the module; raises as `serve`."""
    needed = "the page needs the package gradio: pip install 'faceshifter-jax[ui]'"
    try:
        return importlib.import_module("gradio")
    except ModuleNotFoundError as error:
        if error.name == "gradio":
            raise UserError(needed) from error
        raise UserError(f"{needed}; the one installed misses {error.name}") from error
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{needed}; the one installed does not fit the other packages ({reason})"
        ) from error
