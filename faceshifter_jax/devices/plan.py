"""The memory of a step on a GPU, from XLA's plan, without the kernels that it would make then.

XLA lays out a program's memory before it writes machine code, which takes the larger part of the
time. Another process compiles with XLA's dump on, and is ended as soon as the plan is written.
"""

import dataclasses
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from faceshifter_jax.devices.device import GpuHost, prepare_environment
from faceshifter_jax.errors import UserError

_ALLOCATION = re.compile(r"^allocation \d+: size (\d+), (.*)$", re.MULTILINE)
_MODULE = "*jit_step*gpu_after_optimizations"
# Written last, so that the other files are complete when it is there.
_LAST = f"{_MODULE}-memory-usage-report.txt"
_LOOK_EVERY_SECONDS = 0.2


def compile_until_planned(
    config: Any, target: GpuHost, announce: Callable[[], None] = lambda: None
) -> Any:
    """Returns what `compile_step` would, a `CompiledStep`, of a program whose code is not made.

    Args:
      config: the training run's.
      target: the GPUs.
      announce: called when everything is checked, right before the part that takes minutes.

    Raises:
      UserError: see `compile_step`; also the other process has ended without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="faceshifter-plan-") as folder:
        context = multiprocessing.get_context("spawn")
        answers, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=_compile, args=(config, target, folder, sender), daemon=True
        )
        process.start()
        sender.close()
        try:
            return _wait(answers, Path(folder), announce)
        finally:
            process.kill()
            process.join()


def _wait(answers: Connection, folder: Path, announce: Callable[[], None]) -> Any:
    """Returns the step when its plan or, of a small one, its program is there."""
    step, flops = _receive(answers)
    begin = time.monotonic()
    announce()
    while not answers.poll(_LOOK_EVERY_SECONDS):
        if any(folder.glob(_LAST)):
            break
    else:
        return _receive(answers)
    from faceshifter_jax.devices.costs import gpu_costs

    memory = read_plan(next(folder.glob(f"{_MODULE}-buffer-assignment.txt")).read_text())
    program = next(folder.glob(f"{_MODULE}.txt")).read_text()
    return dataclasses.replace(
        step,
        costs=gpu_costs(memory, flops, program),
        needed_bytes=memory.needed,
        compile_seconds=time.monotonic() - begin,
    )


def _receive(answers: Connection) -> Any:
    """Returns the other process's next answer, or raises its error."""
    try:
        answer = answers.recv()
    except EOFError:
        raise UserError(
            "the process that compiles ended without an answer, perhaps for lack of memory on "
            "this machine: compile where more is free"
        ) from None
    if isinstance(answer, UserError):
        raise answer
    return answer


def read_plan(text: str) -> Any:
    """Returns the `Memory` of XLA's buffer assignment in text form."""
    from faceshifter_jax.devices.costs import Memory

    sizes = dict.fromkeys(("parameter", "reused", "temporary", "other"), 0)
    for size, what in _ALLOCATION.findall(text):
        if what.startswith("parameter"):
            sizes["parameter"] += int(size)
            sizes["reused"] += int(size) if "maybe-live-out" in what else 0
        elif what.startswith("constant"):
            # Lies with the code, as where a whole program is asked.
            continue
        else:
            sizes["temporary" if "preallocated-temp" in what else "other"] += int(size)
    outputs = sizes["reused"] + sizes["other"]
    return Memory(
        arguments=sizes["parameter"],
        outputs=outputs,
        aliased=sizes["reused"],
        temporaries=sizes["temporary"],
        code=0,
        peak=sizes["parameter"] + sizes["other"] + sizes["temporary"],
    )


def _compile(config: Any, target: GpuHost, folder: str, sender: Connection) -> None:
    """Runs in the other process: sends what is known before XLA and, if not ended, after it."""
    prepare_environment(target)
    from faceshifter_jax.devices.compile import lower_step

    try:
        lowered = lower_step(config, target)
        sender.send((lowered.step, lowered.flops))
        dump = {"xla_dump_to": folder, "xla_dump_hlo_module_re": "jit_step"}
        sender.send(lowered.compile(dump))
    except UserError as error:
        sender.send(error)
