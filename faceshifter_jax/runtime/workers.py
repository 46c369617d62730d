"""Mapping a function over many items in worker processes, with the results in order."""

import collections
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeVar

from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.signals import interrupts_later

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEMS_A_TASK = 8
_TASKS_AHEAD_PER_WORKER = 4


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def affordable_workers(bytes_each: int, meminfo: str | os.PathLike = "/proc/meminfo") -> int:
    """Returns the number of processes for which there are cores and memory, at least 1.

    Args:
        bytes_each: the memory that each of them needs.
        meminfo: where Linux reports its memory. The relevant figure is MemAvailable, because cached
            files fill nearly all of the memory that is free.
    """
    try:
        lines = Path(meminfo).read_text().splitlines()
    except OSError:
        return usable_cores()
    for line in lines:
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            available = int(rest.split()[0]) * 1024
            return max(1, min(usable_cores(), available // bytes_each))
    return usable_cores()


def map_in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    num_workers: int,
    always_elsewhere: bool = False,
) -> Iterator[Result]:
    """Yields `function(item)` for every item, in the order of the items.

    With `num_workers` of 1, or few items, everything runs in this process; otherwise in freshly
    started ones (never forked: jax and numba run threads), so `function` must be importable. The
    number of results that wait in memory is bounded. `always_elsewhere` starts a process even for
    one worker, for functions whose result depends on how a process was set up.

    Raises:
        UserError: a worker process was killed.
        Exception: whatever `function` raised.
    """
    num_workers = min(num_workers, -(-len(items) // _ITEMS_A_TASK))
    if not items:
        return
    if num_workers <= 1 and not always_elsewhere:
        yield from map(function, items)
        return
    # Its other end is in this process alone: it closes when the results are no longer wanted.
    wanted, still_wanted = multiprocessing.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        max(num_workers, 1),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(wanted,),
    )
    try:
        yield from _run_tasks(pool, function, items, num_workers * _TASKS_AHEAD_PER_WORKER)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died: it may have run out of memory (try fewer workers), or the "
            'calling script lacks `if __name__ == "__main__":`'
        ) from error
    finally:
        with interrupts_later():
            still_wanted.close()
            pool.shutdown(wait=True, cancel_futures=True)
            wanted.close()


def _run_tasks(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    tasks_ahead: int,
) -> Iterator[Result]:
    def submit(begin: int) -> Future[list[Result]]:
        with interrupts_later():
            return pool.submit(_run_task, function, items[begin : begin + _ITEMS_A_TASK])

    tasks = map(submit, range(0, len(items), _ITEMS_A_TASK))
    running = collections.deque(itertools.islice(tasks, tasks_ahead))
    while running:
        yield from running.popleft().result()
        running.extend(itertools.islice(tasks, 1))


_unwanted = threading.Event()


def _run_task(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    # What is left out when the results are no longer wanted, nobody reads.
    return [function(item) for item in items if not _unwanted.is_set()]


def _start_worker(wanted: Connection) -> None:
    # Ctrl-C reaches the whole process group: only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(wanted,), daemon=True).start()


def _end_with_parent(wanted: Connection) -> None:
    wait([wanted])
    _unwanted.set()
    # A killed parent cannot stop its workers, and they would wait for work forever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
