"""One measurement of the AEI step on the device that is there, in a process of its own.

    python benchmarks/step_on.py ours-tf32 --scale paper --batch 8 --steps 10

Prints a line of JSON: seconds of the first step and of each other, metrics, the most memory in use.
`scripts/gpu_session.py` runs one for each opponent; `JAX_PLATFORMS` chooses the device of ours.
`predict-DTYPE` compiles for a named GPU that need not be there, as `faceshifter device-check` does.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The modules next to this one.
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from common import Parser, at_least
from step_scale import SCALES

DTYPES = ("float32", "tf32", "bfloat16")
OPPONENTS = tuple(
    f"{who}-{dtype}" for who in ("ours", "torch-eager", "torch-compile") for dtype in DTYPES
)
_PREDICTIONS = tuple(f"predict-{dtype}" for dtype in DTYPES)


def main() -> None:
    parser = Parser(__doc__ or "")
    parser.add_argument("what", choices=(*OPPONENTS, *_PREDICTIONS))
    parser.add_argument("--scale", choices=SCALES, default="paper")
    parser.add_argument("--batch", type=at_least(1), default=8, help="pictures a step")
    parser.add_argument("--steps", type=at_least(1), default=10, help="measured steps")
    parser.add_argument("--gradients", help=".npz file to write ours of the first step to")
    parser.add_argument("--device", default="h100", help="GPU to predict for")
    options = parser.parse_args()
    who, _, dtype = options.what.rpartition("-")
    measure = {"ours": _ours, "predict": _predict}.get(who, _torch)
    print(json.dumps(measure(options, who, dtype)))


def _ours(options: argparse.Namespace, _who: str, dtype: str) -> dict[str, Any]:
    step, jax = _our_step(options, dtype)
    step.start()
    compiled = step.compiled.memory_analysis()
    result = {"device": jax.devices()[0].device_kind, "platform": jax.default_backend()}
    if compiled is not None:
        held = compiled.argument_size_in_bytes + compiled.output_size_in_bytes
        held -= compiled.alias_size_in_bytes
        result["compiled_bytes"] = held + compiled.temp_size_in_bytes
    first = _time(step.run)
    if options.gradients:
        _write_gradients(step.state, options.gradients)
    measured = [_time(step.run) for _ in range(options.steps)]
    statistics = jax.devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use", _resident_bytes())
    return result | _figures(first, measured) | {"peak_bytes": peak}


def _our_step(options: argparse.Namespace, dtype: str) -> tuple[Any, Any]:
    import jax

    # TF32 is what a GPU takes at JAX's default precision.
    precision = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": None}[dtype]
    jax.config.update("jax_default_matmul_precision", precision)
    from step_ours import OurStep

    compute = "bfloat16" if dtype == "bfloat16" else "float32"
    return OurStep(SCALES[options.scale], options.batch, compute), jax


def _write_gradients(state: Any, path: str) -> None:
    """Writes the last gradients, which are the mean of Adam with the paper's b1 of 0."""
    import jax
    import optax

    gradients = {}
    for player, optimizer in state.opt_state.items():
        leaves = jax.tree_util.tree_leaves_with_path(optax.tree.get(optimizer, "mu"))
        for place, leaf in leaves:
            gradients[player + jax.tree_util.keystr(place)] = np.asarray(leaf)
    np.savez(path, **gradients)


def _predict(options: argparse.Namespace, _who: str, dtype: str) -> dict[str, Any]:
    from faceshifter_jax.devices.compile import compile_function
    from faceshifter_jax.devices.device import check_compiler, parse_device, prepare_environment

    target = parse_device(options.device)
    check_compiler(target)
    prepare_environment(target)
    step, _ = _our_step(options, dtype)
    shapes = (*step.shapes(), step.batch)
    compiled = compile_function(step.guarded, shapes, target)
    return {"device": str(target), "predicted_bytes": compiled.needed_bytes}


def _torch(options: argparse.Namespace, who: str, dtype: str) -> dict[str, Any]:
    import torch
    from step_torch import TorchStep

    device = "cuda" if torch.cuda.is_available() else "cpu"
    allowed = dtype != "float32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    # Tries cuDNN's kernels, as XLA does.
    torch.backends.cudnn.benchmark = True
    compute = "bfloat16" if dtype == "bfloat16" else "float32"
    compiled = who == "torch-compile"
    step = TorchStep(SCALES[options.scale], options.batch, compute, compiled, device=device)
    step.start()
    first = _time(step.run)
    measured = [_time(step.run) for _ in range(options.steps)]
    on_gpu = device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        **_figures(first, measured),
        "peak_bytes": torch.cuda.max_memory_reserved() if on_gpu else _resident_bytes(),
    }


def _time(run: Callable[[], dict[str, float]]) -> tuple[float, dict[str, float]]:
    """Seconds of a step, which ends when its metrics are on the host, and the metrics."""
    begin = time.perf_counter()
    metrics = run()
    return time.perf_counter() - begin, metrics


def _figures(first: Any, measured: list[Any]) -> dict[str, Any]:
    seconds = [taken for taken, _ in measured]
    return {"first_seconds": first[0], "seconds": seconds, "metrics": first[1]}


def _resident_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 2**10 * peak


if __name__ == "__main__":
    main()
