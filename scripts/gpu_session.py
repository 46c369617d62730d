"""A quarter of an hour on a GPU: everything that has to be seen on one, in one command.

    python scripts/gpu_session.py --output runs/gpu_session --minutes 15

Parity of losses and gradients with the CPU, exact continuation of a training run with deterministic
kernels, pictures a second and peak memory of our step and of a plain PyTorch one (where torch is
installed), the memory that `faceshifter device-check` predicts; the rest of the time trains the
128-pixel AEI-Net that comes with the package further. Each part is a process of its own and writes
its JSON file as soon as it is done; the same command goes on with the parts that are missing.
`--tiny` tries all of it on whatever is there, such as a CPU.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STEP = ROOT / "benchmarks" / "step_on.py"
TRAIN = ROOT / "train.py"
FACESHIFTER = [sys.executable, "-m", "faceshifter_jax.cli"]
DTYPES = ("float32", "tf32", "bfloat16")
# The most by which a GPU's losses and gradients may differ from a CPU's float32, relative to their
# size. Stated before anybody has measured it: TF32 keeps 10 bits of each factor, float32 23.
BOUNDS = {"float32": 2e-3, "tf32": 5e-2}
_CPU = {"JAX_PLATFORMS": "cpu"}
_PREDICT = {**_CPU, "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
_DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
# Seconds in which a training run has to write its last checkpoint after it was asked to stop.
_TO_STOP = 90
# Small, because it is compiled three times, but with all parts of the real step.
_SMALL = (
    *(
        "--config.model.encoder_channels=(8,16,16)",
        "--config.model.generator_channels=(16,16,16,8)",
    ),
    *("--config.discriminator.num_scales=1", "--config.discriminator.width=8"),
    *(
        "--config.model.reduction=1",
        "--config.model.flow_pixels=1",
        "--config.model.change_pixels=1",
    ),
    *("--config.batch_size=4", "--config.log_every_steps=1", "--config.sample_every_steps=0"),
)
# What the package's AEI-Net learned from; see networks/pretrained/MODEL_CARD.md.
_LEARN = (
    *("--config.data.identity_views=0", "--config.answer.distance=absolute"),
    *("--config.loss.answer=10", "--config.loss.reconstruction=20", "--config.loss.adversarial=0"),
    *("--config.loss.identity=0", "--config.loss.attribute=0", "--config.ema_decay=0.999"),
    *("--config.optimizer.generator.learning_rate=1e-3", "--config.sample_every_steps=500"),
)


class Session:
    """The options, and how long there is still time.

    Args:
      options: of the command line.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.output: Path = options.output
        self._end = time.monotonic() + 60 * options.minutes
        self.kept = 0.0

    def left(self) -> float:
        """Seconds that are left, without those that are kept for training."""
        return self._end - self.kept - time.monotonic()

    def run(self, command: Sequence[Any], **environment: str) -> str:
        """Runs a command to its end and returns what it printed.

        Raises:
          RuntimeError: it failed, or the time is over.
        """
        try:
            done = subprocess.run(
                list(map(str, command)),
                cwd=ROOT,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=max(1.0, self.left()),
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError("the time was over before it was done") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "rror" in line]
            lines += [*done.stderr.splitlines()[-1:], f"exit code {done.returncode}"]
            raise RuntimeError(lines[0].strip())
        return done.stdout

    def measure(self, what: str, *arguments: Any, scale: str = "", **environment: str) -> Any:
        """Runs `benchmarks/step_on.py` and returns its figures."""
        options = self.options
        sizes = ("--scale", scale or options.scale, "--batch", options.batch)
        command = (sys.executable, STEP, what, *sizes, "--steps", options.steps, *arguments)
        return json.loads(self.run(command, **environment).splitlines()[-1])

    def faces(self, name: str, size: int, identities: int) -> Path:
        """Returns a dataset of rendered people with right answers, after rendering it."""
        folder = self.output / name
        if not (folder / "dataset.json").exists() and not any(folder.glob("*.json")):
            numbers = ("--identities", identities, "--pictures", 4, "--group-size", 2)
            self.run([*FACESHIFTER, "render", folder, *numbers, "--size", size], **_CPU)
        return folder


def parity(session: Session) -> dict[str, Any]:
    """Losses and gradients of one step, here and on the CPU, from the same weights and pictures."""
    scale = "tiny" if session.options.tiny else "demo"
    files = {name: session.output / f"gradients_{name}.npz" for name in ("cpu", *BOUNDS)}
    arguments = ("--gradients", files["cpu"])
    want = session.measure("ours-float32", *arguments, scale=scale, **_CPU)
    result: dict[str, Any] = {"scale": scale, "passed": True}
    for dtype, bound in BOUNDS.items():
        found = session.measure(f"ours-{dtype}", "--gradients", files[dtype], scale=scale)
        losses = {
            name: abs(found["metrics"][name] - value) / max(abs(value), 0.01)
            for name, value in want["metrics"].items()
            if name.endswith(("_loss", "_norm"))
        }
        gradients = _compare(files["cpu"], files[dtype])
        passed = max(*losses.values(), *gradients.values()) <= bound
        result |= {dtype: {"bound": bound, "losses": losses, "gradients": gradients}}
        result |= {"device": found["device"], "passed": result["passed"] and passed}
    return result


def _compare(one: Path, other: Path) -> dict[str, float]:
    """Player -> the length of the difference of its gradients by the length of those in `one`."""
    with np.load(one) as want, np.load(other) as found:
        players = sorted({name.partition("[")[0] for name in want.files})
        sums = {player: np.zeros(2) for player in players}
        for name in want.files:
            difference = found[name].astype(np.float64) - want[name]
            squares = (np.square(difference).sum(), np.square(want[name], dtype=np.float64).sum())
            sums[name.partition("[")[0]] += squares
    return {player: float(np.sqrt(a / b)) for player, (a, b) in sums.items()}


def resume(session: Session) -> dict[str, Any]:
    """Six steps at once, and three, a restart and three more, array by array."""
    from faceshifter_jax.checkpoints.reading import read_arrays, read_meta

    data = session.faces("small_faces", 32, 8)
    exact = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_DETERMINISTIC}".strip()}
    trained = {}
    for name, lengths in (("whole", (6,)), ("restarted", (3, 6))):
        workdir = session.output / f"resume_{name}"
        # Of a call that was broken off.
        shutil.rmtree(workdir, ignore_errors=True)
        for steps in lengths:
            command = [sys.executable, TRAIN, "--config", "configs/aei.py:demo", *_SMALL]
            command += ["--workdir", workdir, f"--config.num_steps={steps}"]
            command += [f"--config.data.path={data}", "--config.image_size=32"]
            command += ["--config.optimizer.generator.schedule=constant"]
            command += ["--config.optimizer.discriminator.schedule=constant"]
            session.run(command, **exact)
        place = workdir / "checkpoints" / "6"
        trained[name] = _flat(read_arrays(place, read_meta(place)))
    whole, restarted = trained["whole"], trained["restarted"]
    differing = [name for name in whole if not np.array_equal(whole[name], restarted[name])]
    same_names = whole.keys() == restarted.keys()
    return {"arrays": len(whole), "differing": differing, "passed": same_names and not differing}


def _flat(tree: Any) -> dict[str, np.ndarray]:
    import jax

    return {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(tree)}


def speed_of(name: str) -> Callable[[Session], dict[str, Any]]:
    """Returns the part that measures an opponent: pictures a second and peak memory."""

    def speed(session: Session) -> dict[str, Any]:
        result = session.measure(name)
        seconds = statistics.median(result["seconds"])
        return result | {"pictures_per_second": session.options.batch / seconds}

    return speed


def memory(session: Session) -> dict[str, Any]:
    """The memory of our bfloat16 step that device-check predicts, of a card that it knows."""
    measured = _read(session.output / "ours-bfloat16.json")
    device = session.options.device or card_name(measured.get("device", ""))
    if not device:
        kind = measured.get("device", "a device that was not measured")
        return {"skipped": f"device-check does not know {kind}: name one with --device"}
    result = session.measure("predict-bfloat16", "--device", device, **_PREDICT)
    if peak := measured.get("peak_bytes"):
        result |= {"peak_bytes": peak, "peak_by_predicted": peak / result["predicted_bytes"]}
    return result


def card_name(kind: str) -> str:
    """What `device-check` calls a GPU that JAX calls `kind`; "" for none that it knows."""
    from faceshifter_jax.devices.gpus import GPUS

    words = re.split(r"[^a-z0-9]+", re.sub(r"\b(rtx) ", r"\1", kind.lower()))
    if "ti" in words or "super" in words or "laptop" in words:
        return ""
    return next((name for name in GPUS if all(word in words for word in name.split("-"))), "")


def train(session: Session) -> dict[str, Any]:
    """Trains the package's 128-pixel AEI-Net further until the time is over."""
    options = session.options
    size, people = (32, 8) if options.tiny else (128, options.identities)
    data = options.data or session.faces("faces", size, people)
    workdir = session.output / "aei"
    flags = [*_SMALL, "--config.num_steps=4"] if options.tiny else [*_shipped_flags(), *_LEARN]
    command = [sys.executable, TRAIN, "--config", "configs/aei.py:demo", "--workdir", workdir]
    command += [f"--config.data.path={data}", f"--config.image_size={size}", *flags]
    with (session.output / "train.log").open("a") as log:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            process.wait(max(1.0, session.left() - _TO_STOP))
        except subprocess.TimeoutExpired:
            # It saves a checkpoint and ends.
            process.send_signal(signal.SIGTERM)
        finally:
            try:
                code = process.wait(_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")]
    if not steps:
        raise RuntimeError(f"no checkpoint, exit code {code}: see {session.output / 'train.log'}")
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return {"step": max(steps), "exit_code": code, "last": json.loads(lines[-1])}


def _shipped_flags() -> list[str]:
    """The settings of the AEI-Net that comes with the package, to go on from it."""
    from faceshifter_jax.networks.file import read_network_file
    from faceshifter_jax.networks.shipped import find_shipped

    network = read_network_file(find_shipped("aei")).networks["generator"]
    settings: dict[str, Any] = dict(network.settings)
    flags = [f"--config.model.aad.{name}={value}" for name, value in settings.pop("aad").items()]
    for name, value in settings.items():
        text = str(tuple(value)).replace(" ", "") if isinstance(value, list | tuple) else value
        flags.append(f"--config.model.{name}={text}")
    steps = ["--config.num_steps=200000", "--config.save_every_steps=500"]
    constant = "--config.optimizer.generator.schedule=constant"
    return ["--config.init_from=shipped:aei", *flags, *steps, constant]


def _speeds() -> dict[str, Callable[[Session], dict[str, Any]]]:
    order = [f"{who}-{dtype}" for dtype in reversed(DTYPES) for who in ("ours", "torch-eager")]
    order += [f"torch-compile-{dtype}" for dtype in reversed(DTYPES)]
    return {name: speed_of(name) for name in order}


_SPEEDS = _speeds()
PARTS: dict[str, Callable[[Session], dict[str, Any]]] = {
    "parity": parity,
    "resume": resume,
    **{name: _SPEEDS.pop(name) for name in ("ours-bfloat16",)},
    "memory": memory,
    **_SPEEDS,
    "train": train,
}
"""Name -> part, in order of how much it matters; the last one takes what time is left."""


def run_part(session: Session, name: str) -> dict[str, Any]:
    """Returns a part's result and writes it, unless it is there from an earlier call."""
    path = session.output / f"{name}.json"
    found = _read(path)
    if found and "failed" not in found and name != "train":
        return found
    begin = time.monotonic()
    print(f"{name} ...", flush=True)
    try:
        result = PARTS[name](session)
    except RuntimeError as error:
        result = {"failed": str(error)}
    if name.startswith("torch") and "No module named 'torch'" in result.get("failed", ""):
        result = {"skipped": "torch is not installed: pip install -e '.[benchmark]'"}
    if name == "memory" and "is not installed" in result.get("failed", ""):
        result = {"skipped": result["failed"]}
    result["part_seconds"] = time.monotonic() - begin
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(path)
    return result


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def summary(name: str, result: dict[str, Any]) -> str:
    """One line on a part's result."""
    for word in ("failed", "skipped"):
        if word in result:
            return f"{name}: {word}: {result[word]}"
    if "passed" in result:
        return f"{name}: {'passed' if result['passed'] else 'NOT PASSED, see its file'}"
    if "pictures_per_second" in result:
        gib = result["peak_bytes"] / 2**30
        return f"{name}: {result['pictures_per_second']:.1f} pictures/s, peak {gib:.2f} GiB"
    if "predicted_bytes" in result:
        return f"{name}: predicted {result['predicted_bytes'] / 2**30:.2f} GiB" + (
            f", peak {100 * result['peak_by_predicted']:.0f} % of it"
            if "peak_by_predicted" in result
            else ""
        )
    return f"{name}: step {result['step']}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="A quarter of an hour on a GPU.")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu_session"))
    parser.add_argument("--minutes", type=float, default=15, help="of this call (default: 15)")
    parser.add_argument("--train-minutes", type=float, default=5, help="kept for training")
    parser.add_argument("--scale", choices=("paper", "demo", "tiny"), default="paper")
    parser.add_argument("--batch", type=int, default=8, help="pictures a step")
    parser.add_argument("--steps", type=int, default=10, help="measured steps")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", help="the GPU as device-check names it (default: found out)")
    parser.add_argument("--data", type=Path, help="rendered faces of 128 pixels to train on")
    parser.add_argument("--identities", type=int, default=400, help="people to render without it")
    parser.add_argument("--tiny", action="store_true", help="everything at the smallest size")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.scale, options.batch, options.steps = "tiny", 4, 2
    if min(options.batch, options.steps, options.identities) < 1 or options.minutes <= 0:
        parser.exit(2, "error: numbers must be above 0\n")
    options.output = options.output.absolute()
    return options


def main() -> int:
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    session, good = Session(options), True
    for name in PARTS:
        if name not in options.parts:
            continue
        session.kept = 0.0 if name == "train" else 60 * options.train_minutes
        if session.left() <= 0 and not (session.output / f"{name}.json").exists():
            print(f"{name}: no time left, the same command goes on with it")
            continue
        result = run_part(session, name)
        print(summary(name, result), flush=True)
        good = good and "failed" not in result and result.get("passed", True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
