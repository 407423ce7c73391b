"""A server of several worker processes: takes connections and hands each to the worker that has least to do.

The dispatcher reads nothing of what a client sends: the socket itself goes to a worker, which verifies the token and serves it from then
on. A worker that ends is started anew; its clients notice, come again and restore what they had. When the dispatcher is gone, however it
ended, so are its workers. What is handed over are file descriptors, as POSIX systems do it.
"""

import contextlib
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import reduction
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from NeuroSAM2Core.remote.server.counters import Counters, ServerState, Snapshot
from NeuroSAM2Core.remote.server.options import WorkerLimits
from NeuroSAM2Core.remote.server.process import WorkerProcess, leave
from NeuroSAM2Core.startup import num_cores

if sys.platform == "win32":  # nothing is handed over there, but the types are told
    from multiprocessing.connection import PipeConnection as Connection
else:
    from multiprocessing.connection import Connection

logger = logging.getLogger(__name__)

BUSY_WEIGHT = 4.0
"""A worker that computes all the time counts as so many clients more."""
BUSY_MEMORY = 0.8
"""The share of the former value in the running mean of how busy a worker is; renewed with every report."""
SHORT_LIFE_S, MAX_SHORT_LIVES = 20.0, 3
"""After so many workers in a row that ended so soon there is something wrong that another one will not change."""
END_S = 5.0
"""How long workers have to end."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(slots=True, eq=False)
class Member:
    """One of the workers, as the dispatcher sees it."""

    number: int
    process: BaseProcess
    handover: Connection
    """Connections go there."""
    reports: Connection
    """Snapshots come from there."""
    snapshot: Snapshot | None = None
    num_handed: int = 0
    busy: float = 0.0
    """The share of its time that it computes."""
    began: float = field(default_factory=time.monotonic)

    @property
    def num_clients(self) -> int:
        """Those that it serves, those that have yet to show their token, and those on their way to it."""
        gauges = self.snapshot.gauges if self.snapshot is not None else None
        on_their_way = self.num_handed - (gauges.num_accepted if gauges else 0)
        return (gauges.num_open if gauges else 0) + on_their_way

    @property
    def load(self) -> float:
        """What it has to do, in clients."""
        return self.num_clients + BUSY_WEIGHT * self.busy

    def take_report(self, snapshot: Snapshot) -> None:
        """Notes what the worker has counted."""
        if self.snapshot is not None and (passed_s := snapshot.beat - self.snapshot.beat) > 0:
            busy = min(1.0, (snapshot.busy_s - self.snapshot.busy_s) / passed_s)
            self.busy = BUSY_MEMORY * self.busy + (1 - BUSY_MEMORY) * busy
        self.snapshot = snapshot


def by_load(members: Sequence[Member], max_clients: int) -> list[Member]:
    """Who serves the next client: workers with a free place first, those with least to do before the others.

    Args:
        members: All workers.
        max_clients: Places of each. Where none is free, the worker that is chosen says so to the client.
    """
    return sorted(members, key=lambda one: (one.num_clients >= max_clients, one.load, one.number))


def shared_limits(limits: WorkerLimits, count: int, *, num_cores: int) -> WorkerLimits:
    """The limits of one of several workers that share what was asked for.

    Args:
        limits: Of all together.
        count: How many they are.
        num_cores: Of the machine; shared where no number of threads was asked for.
    """
    return replace(
        limits,
        max_memory_bytes=max(1, limits.max_memory_bytes // count),
        feature_cache_bytes=max(1, limits.feature_cache_bytes // count),
        max_clients=math.ceil(limits.max_clients / count),
        threads=limits.threads or max(1, num_cores // count),
    )


def visible_devices(environment: Mapping[str, str], num_gpus: int) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` is for one GPU each; empty where there is no GPU.

    Args:
        environment: Of this process, which may see only some GPUs of the machine.
        num_gpus: That it sees.
    """
    named = [one for one in environment.get(VISIBLE, "").split(",") if one]
    return named[:num_gpus] if len(named) >= num_gpus else [str(n) for n in range(num_gpus)]


class Dispatcher:
    """Serves with several workers until `stop`.

    Args:
        listener: Bound and listening.
        token: What clients must show.
        limits: Of all workers together.
        count: How many workers.
        devices: A value of `CUDA_VISIBLE_DEVICES` for each GPU; workers take them in turn. Empty without GPUs.
    """

    def __init__(
        self, listener: socket.socket, token: str, limits: WorkerLimits, *, count: int, devices: Sequence[str] = ()
    ) -> None:
        self._listener, self._token, self._devices = listener, token, devices
        self._limits = shared_limits(limits, count, num_cores=num_cores())
        self._count = count
        self._members: list[Member] = []
        self._num_restarts = self._num_short_lives = 0
        self._is_stopped = False
        self._lock = threading.Lock()
        self._wakeup_send, self._wakeup_receive = socket.socketpair()
        self.exit_code = 0
        """Of the process: not 0 where workers cannot be kept running."""

    def run(self) -> None:
        """Serves."""
        self._listener.setblocking(False)
        try:
            members = [self._start(number) for number in range(self._count)]
            with self._lock:
                self._members = members
            while not self._is_stopped:
                self._turn()
        finally:
            self._end_all()

    def stop(self) -> None:
        """Ends `run`. May be called from any thread, and from a signal handler."""
        self._is_stopped = True
        with contextlib.suppress(OSError):
            self._wakeup_send.send(b"!")

    def state(self) -> ServerState:
        """What all workers have counted. May be called from any thread."""
        with self._lock:
            there = [one.snapshot for one in self._members] or [None] * self._count
            return ServerState(workers=there, num_restarts=self._num_restarts)

    def _turn(self) -> None:
        members = list(self._members)
        ends = [one.process.sentinel for one in members]
        ready = wait([self._listener, self._wakeup_receive, *(one.reports for one in members), *ends])
        for member in members:
            if member.reports in ready:
                self._take_report(member)
            if member.process.sentinel in ready and not self._is_stopped:
                self._replace(member)
        if self._listener in ready and not self._is_stopped:
            self._accept()

    def _take_report(self, member: Member) -> None:
        with contextlib.suppress(EOFError, OSError):  # it has ended, as its sentinel says
            snapshot = member.reports.recv()
            with self._lock:
                member.take_report(snapshot)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # it has gone again
            return
        with sock:
            for member in by_load(self._members, self._limits.max_clients):
                assert member.process.pid is not None
                try:
                    reduction.send_handle(member.handover, sock.fileno(), member.process.pid)
                except OSError:  # it has ended, as its sentinel says
                    continue
                member.num_handed += 1
                return

    def _start(self, number: int) -> Member:
        context = multiprocessing.get_context("spawn")
        handover, taken = context.Pipe()
        reports, told = context.Pipe(duplex=False)
        device = self._devices[number % len(self._devices)] if self._devices else None
        process = context.Process(
            target=run_member,
            args=(taken, told, self._token, self._limits, device),
            name=f"worker {number}",
        )
        process.start()
        taken.close()
        told.close()
        return Member(number, process, handover, reports)

    def _replace(self, member: Member) -> None:
        """Starts a worker in the place of one that has ended."""
        member.process.join()
        lived_s = time.monotonic() - member.began
        logger.error("worker %d has ended after %.0f s (%s)", member.number, lived_s, member.process.exitcode)
        self._num_short_lives = self._num_short_lives + 1 if lived_s < SHORT_LIFE_S else 0
        if self._num_short_lives >= MAX_SHORT_LIVES:
            logger.error("workers end as soon as they are started: the server ends")
            self.exit_code = 1
            self.stop()
            return
        _close(member)
        started = self._start(member.number)
        with self._lock:
            self._members[member.number] = started
            self._num_restarts += 1

    def _end_all(self) -> None:
        self._listener.close()
        for member in self._members:
            _close(member)  # which it takes for the request to end
        deadline = time.monotonic() + END_S
        for member in self._members:
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
        self._wakeup_send.close()
        self._wakeup_receive.close()


def _close(member: Member) -> None:
    member.handover.close()
    member.reports.close()


class HandedConnections:
    """Stands for a listening socket: connections that were accepted by the dispatcher.

    Args:
        pipe: They come from there.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.has_ended = threading.Event()
        """The dispatcher is gone, or wants this worker to end."""

    def fileno(self) -> int:
        """Of the pipe."""
        return self._pipe.fileno()

    def setblocking(self, flag: bool, /) -> None:
        """Nothing: what is readable can be taken at once."""

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next connection, and where it comes from.

        Raises:
            OSError: It has gone again, or no more will come.
        """
        try:
            sock = socket.socket(fileno=reduction.recv_handle(self._pipe))
        except (EOFError, RuntimeError) as error:
            self.has_ended.set()
            raise OSError("no more connections come") from error
        try:
            address = sock.getpeername()
        except OSError:
            sock.close()
            raise
        return sock, (str(address[0]), int(address[1]))

    def close(self) -> None:
        """Nobody can come any more."""
        self._pipe.close()


def run_member(handover: Connection, reports: Connection, token: str, limits: WorkerLimits, device: str | None) -> None:
    """The body of a worker process of a dispatcher: serves until that closes the pipe.

    Args:
        handover: Connections come from there.
        reports: Snapshots go there.
        token: What clients must show.
        limits: Of this worker.
        device: Its GPU, as `CUDA_VISIBLE_DEVICES` names it; None for none.
    """
    if device is not None:
        os.environ[VISIBLE] = device  # before torch is imported
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    connections = HandedConnections(handover)

    def report(snapshot: Snapshot) -> None:
        with contextlib.suppress(OSError):  # the dispatcher is gone, which the other pipe says, too
            reports.send(snapshot)

    worker = WorkerProcess(connections, token, limits, counters=Counters(report))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is meant for the dispatcher
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())

    def end() -> None:
        connections.has_ended.wait()
        worker.stop()

    threading.Thread(target=end, name="end", daemon=True).start()
    worker.run()
    leave(worker.exit_code)
