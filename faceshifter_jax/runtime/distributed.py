"""Training in several processes: how they find each other, and what they agree on.

Every function here that says "all processes" must be called by all of them, in the same order.
With one process each returns at once.
"""

import hashlib
import json
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from faceshifter_jax.errors import UserError
from faceshifter_jax.runtime.faults import in_one_line
from faceshifter_jax.runtime.modes import MODES

# Longer than our own limit, because at jax's limit jax ends the process with a stack trace.
_GRACE_SECONDS = 3600
# Number of names shown; processes with configs of different tasks disagree on dozens.
_SHOWN = 5
# Messages of transports and of jax's coordination service about a process that does not answer.
_LOST = re.compile(
    r"gloo|nccl|connection|socket|peer|heartbeat|unavailable|deadline_exceeded", re.IGNORECASE
)


class NotConnected(UserError):
    """Other processes did not connect in time; jax still waits for them on its own thread."""


class LostProcess(UserError):
    """Another process is gone, so that nothing can be coordinated with it, not even the end."""


def initialize(settings: Mapping[str, Any]) -> None:
    """Connects this process to the others, as `config.distributed` says.

    Must be called before anything that touches a device. A second call in a process does nothing.

    Args:
      settings: `mode` ("off", "automatic": asked of the TPU, Slurm, Open MPI or Kubernetes, or
        "coordinator"), and for the last of them `coordinator` (host:port of process 0),
        `num_processes` and `process_id`; `timeout_seconds` to wait for the others.

    Raises:
      UserError: settings that cannot work, no cluster found, or other processes that did not
        connect in time.
    """
    _check(settings)
    if settings["mode"] == "off" or jax.distributed.is_initialized():
        return
    # The loop catches signals itself, including SIGINT, and agrees on the step to stop at.
    jax.config.update("jax_enable_preemption_service", False)
    places = {}
    if settings["mode"] == "coordinator":
        places = {
            "coordinator_address": settings["coordinator"],
            "num_processes": settings["num_processes"],
            "process_id": settings["process_id"],
            "cluster_detection_method": "deactivate",
        }
    _connect(places, settings["timeout_seconds"])
    counts = set(np.bincount([device.process_index for device in jax.devices()]).tolist())
    if len(counts) > 1:
        raise UserError(
            f"the processes have different numbers of devices, {sorted(counts)}: give each as many"
        )


def _check(settings: Mapping[str, Any]) -> None:
    mode = settings["mode"]
    if mode not in MODES:
        raise UserError(
            f"config.distributed.mode is {mode!r}: choose one of {', '.join(map(repr, MODES))}"
        )
    if settings["timeout_seconds"] < 1:
        raise UserError(
            f"config.distributed.timeout_seconds is {settings['timeout_seconds']}: it must be at "
            "least 1"
        )
    if mode != "coordinator":
        if settings["coordinator"] or settings["num_processes"] or settings["process_id"]:
            raise UserError(
                f"config.distributed names a coordinator or processes, but its mode is {mode!r}: "
                "set --config.distributed.mode=coordinator"
            )
        return
    host, _, port = settings["coordinator"].rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(
            f"config.distributed.coordinator is {settings['coordinator']!r}: name process 0 as "
            "host:port, such as 10.0.0.1:1234"
        )
    if settings["num_processes"] < 1:
        raise UserError(
            f"config.distributed.num_processes is {settings['num_processes']}: it must be at "
            "least 1"
        )
    if not 0 <= settings["process_id"] < settings["num_processes"]:
        raise UserError(
            f"config.distributed.process_id is {settings['process_id']}: of "
            f"{settings['num_processes']} processes it must be 0 to "
            f"{settings['num_processes'] - 1}"
        )


def _connect(places: Mapping[str, Any], timeout_seconds: int) -> None:
    """Connects on another thread: when jax gives up, it aborts the process and does not raise."""
    failure: list[Exception] = []

    def connect():
        try:
            jax.distributed.initialize(
                **places, initialization_timeout=timeout_seconds + _GRACE_SECONDS
            )
        except Exception as error:  # raised again below, on the thread that asked
            failure.append(error)

    thread = threading.Thread(target=connect, daemon=True, name="connect")
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive():
        where = places.get("coordinator_address", "the coordinator")
        count = places.get("num_processes", "all")
        raise NotConnected(
            f"{count} processes did not meet at {where} within {timeout_seconds} s: check "
            "config.distributed (coordinator, num_processes, a process_id of its own for each) "
            "and that every process runs"
        )
    if failure:
        reason = " ".join(str(failure[0]).split())
        if isinstance(failure[0], ValueError) and not places:
            raise UserError(
                f"config.distributed.mode is 'automatic', but no cluster was found ({reason}): set "
                "mode=coordinator with coordinator, num_processes and process_id"
            ) from failure[0]
        raise UserError(f"the processes could not connect: {reason}") from failure[0]


def is_connected() -> bool:
    """Whether this process is one of several, which would be left waiting if it ended abruptly."""
    return jax.distributed.is_initialized()


@contextmanager
def lost_process_is_one_line() -> Iterator[None]:
    """Turns jax's error for a process that was killed or cannot be reached into one line.

    jax itself ends a process at once if its coordinator is gone, and within two minutes if it waits
    for another process that is gone; in both cases with jax's own message and SIGABRT.

    Raises:
      LostProcess: naming what jax said.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not is_connected() or not _LOST.search(str(error)):
            raise
        raise LostProcess(
            f"another process is gone or cannot be reached ({' '.join(str(error).split())[:200]}): "
            "end all of them and start all again; the same command continues from the newest whole "
            "checkpoint"
        ) from error


def is_first_process() -> bool:
    """Whether this process is the one that writes and prints; there always is exactly one."""
    return jax.process_index() == 0


@contextmanager
def together() -> Iterator[None]:
    """Ends all processes on a UserError or OSError in any of them; all of them must enter it.

    The code inside must not wait for other processes: if one failed, the others would wait forever.

    Raises:
      UserError: what was raised inside, with an OSError in one line; otherwise that another process
        failed.
    """
    failure = None
    try:
        yield
    except UserError as error:
        failure = error
    except OSError as error:
        failure = in_one_line(error)
        failure.__cause__ = error
    failed = multihost_utils.process_allgather(np.int32(failure is not None)).reshape(-1)
    if failure is not None:
        raise failure
    if failed.any():
        raise UserError(f"process {int(failed.argmax())} could not continue: see what it printed")


def from_first_process(value: int | None) -> int | None:
    """Returns in all processes the first one's `value`, a number that is not negative or None."""
    sent = multihost_utils.broadcast_one_to_all(np.int32(-1 if value is None else value))
    return None if sent < 0 else int(sent)


def check_same_newest(workdir: Path, step: int | None) -> None:
    """Checks that all processes see the same newest checkpoint, before one reads what it lacks.

    Args:
      workdir: the training run's directory, as this process knows it.
      step: that of the newest checkpoint that this process sees in it.

    Raises:
      UserError: in all processes; a process with a different directory names it.
    """
    first = from_first_process(step)
    with together():
        if step != first:
            raise _not_shared(workdir)


def check_shared(directory: Path) -> None:
    """Checks that all processes see the directory of the first one under their own path.

    Args:
      directory: exists in the first process, which writes a file there and removes it again.

    Raises:
      UserError: in all processes; a process with a different directory names it.
    """
    if jax.process_count() == 1:
        return
    # A name that nobody has looked up yet: network file systems cache the absence of files.
    token = from_first_process(secrets.randbits(31))
    file = directory / f".seen_by_all.{token}"
    try:
        with together():
            if is_first_process():
                file.touch()
        with together():
            if not file.exists():
                raise _not_shared(directory)
    finally:
        if is_first_process():
            file.unlink(missing_ok=True)


def _not_shared(workdir: Path) -> UserError:
    return UserError(
        f"the workdir {workdir} of process {jax.process_index()} is not that of process 0: name a "
        "directory that all processes see"
    )


def check_same_everywhere(facts: Mapping[str, Any]) -> None:
    """Checks facts that must be equal in all processes.

    Args:
      facts: name -> JSON value.

    Raises:
      UserError: in all processes, naming what differs.
    """
    # Names first: processes with different names could not even gather their values.
    names = _find_different({"which settings there are": list(facts)}) or _find_different(facts)
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise UserError(
            f"the processes disagree on {', '.join(names[:_SHOWN])}{more}: start all of them with "
            "the same config and data"
        )


def _find_different(facts: Mapping[str, Any]) -> list[str]:
    """Returns the names of the facts that differ; all processes have the same names."""
    if not facts:
        return []
    digests = np.stack(
        [
            np.frombuffer(hashlib.sha256(json.dumps(fact, sort_keys=True).encode()).digest(), "u1")
            for fact in facts.values()
        ]
    )
    gathered = multihost_utils.process_allgather(digests).reshape(-1, *digests.shape)
    different = (gathered != gathered[:1]).any(axis=(0, 2))
    return [name for name, differs in zip(facts, different, strict=True) if differs]
