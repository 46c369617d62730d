"""Evaluation in several processes: each does its share of the work, all get all results.

Functions that say "all processes" must be called by all of them, in the same order. With one
process they do the whole work and do not wait.
"""

import argparse
import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.distributed import (
    LostProcess,
    NotConnected,
    check_same_everywhere,
    initialize,
    is_connected,
    is_first_process,
    lost_process_is_one_line,
    together,
)
from faceshifter_jax.runtime.modes import DEFAULT_TIMEOUT_SECONDS
from faceshifter_jax.runtime.parallel import AXIS, build_parallel
from faceshifter_jax.runtime.signals import leave

_CHUNK_BYTES = 2**22
_BAD_INPUT, _INTERRUPTED = 2, 130


@contextlib.contextmanager
def connected(arguments: argparse.Namespace) -> Iterator[None]:
    """Makes this process one of several for what is inside, where the arguments ask for it.

    Only the first process's stdout is seen. Where the others did not come, or one was lost, and
    after Ctrl-C or SIGTERM, the process ends here: at a usual exit jax would wait for the others.

    Raises:
      UserError: arguments that cannot work, or no cluster to be found.
    """
    if arguments.distributed in (None, "off") and arguments.timeout_seconds is not None:
        raise UserError("--timeout-seconds has no effect without --distributed: leave it out")
    try:
        _initialize(arguments)
        with contextlib.ExitStack() as stack:
            if not is_first_process():
                stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            with lost_process_is_one_line():
                _open_connections()
                yield
    except NotConnected as error:
        leave(f"error: {_as_options(error)}", _BAD_INPUT)
    except LostProcess as error:
        reason = " ".join(str(error.__cause__).split())[:200]
        leave(
            f"error: another process is gone or cannot be reached ({reason}): see what it "
            "printed, end all of them and start all again",
            _BAD_INPUT,
        )
    except KeyboardInterrupt:
        if not is_connected():
            raise
        leave("interrupted", _INTERRUPTED)
    except SystemExit as request:
        if not is_connected():
            raise
        leave("", int(request.code or 0))


def _initialize(arguments: argparse.Namespace) -> None:
    settings = {
        "mode": arguments.distributed or "off",
        "coordinator": arguments.coordinator or "",
        "num_processes": arguments.num_processes or 0,
        "process_id": arguments.process_id or 0,
        "timeout_seconds": (
            DEFAULT_TIMEOUT_SECONDS
            if arguments.timeout_seconds is None
            else arguments.timeout_seconds
        ),
    }
    try:
        initialize(settings)
    except NotConnected:
        raise
    except UserError as error:
        raise UserError(_as_options(error)) from error


def _open_connections() -> None:
    """Makes the devices that share a batch meet while no process is busy; all processes.

    On CPUs they wait half a minute for each other when they first meet, and for long afterwards.
    """
    if jax.process_count() == 1:
        return
    parallel = build_parallel("jit")
    rows = np.zeros(parallel.num_devices, np.float32)
    sharding = NamedSharding(parallel.mesh, PartitionSpec(AXIS))
    shared = jax.make_array_from_callback(rows.shape, sharding, rows.__getitem__)
    jax.block_until_ready(jax.jit(lambda x: x, out_shardings=parallel.replicated)(shared))


def _as_options(error: UserError) -> str:
    """Rewords errors about a training run's settings for the options of the same names."""

    def option(found: re.Match) -> str:
        name = found[1]
        return "--distributed" if name in (None, "mode") else f"--{name.replace('_', '-')}"

    return re.sub(r"(?:--)?config\.distributed(?:\.(\w+))?", option, str(error))


def in_shares(
    compute: Callable[[np.ndarray], Mapping[str, np.ndarray]], count: int
) -> dict[str, np.ndarray]:
    """Computes something of `count` things, each process for its share; all processes.

    Args:
      compute: takes the numbers of some of the things, int (N,) ascending; gives arrays, whose
        first axes follow that order. It must not wait for other processes.
      count: at least 1.

    Returns:
      the arrays for all things.

    Raises:
      UserError: in all processes, where `compute` raised it in one, or where they disagree on
        `count`.
    """
    if jax.process_count() == 1:
        return dict(compute(np.arange(count)))
    check_same_everywhere({"the data": count})
    mine = np.array_split(np.arange(count), jax.process_count())[jax.process_index()]
    with together():
        computed = dict(compute(mine)) if len(mine) else {}
    parts = [part for part in _gather(computed) if part]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def largest(number: int) -> int:
    """Returns the largest number that a process passed, at most 2^31 - 1; all processes."""
    return int(multihost_utils.process_allgather(np.int32(number)).max())


def _gather(arrays: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Returns what each process passed, in their order; all processes."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    sent = np.frombuffer(file.getvalue(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array(divmod(len(sent), _CHUNK_BYTES), np.int32))
    lengths = [int(chunks) * _CHUNK_BYTES + int(rest) for chunks, rest in lengths]
    received = np.empty((len(lengths), max(lengths)), np.uint8)
    # Pieces of one size: what gathers them is compiled once.
    for begin in range(0, max(lengths), _CHUNK_BYTES):
        piece = sent[begin : begin + _CHUNK_BYTES]
        piece = np.pad(piece, (0, _CHUNK_BYTES - len(piece)))
        width = min(_CHUNK_BYTES, max(lengths) - begin)
        received[:, begin : begin + width] = multihost_utils.process_allgather(piece)[:, :width]
    found = []
    for row, length in zip(received, lengths, strict=True):
        with np.load(io.BytesIO(row[:length].tobytes()), allow_pickle=False) as archive:
            found.append({name: archive[name] for name in archive.files})
    return found
