"""Broadcasts the failure of one process to the others, which would otherwise wait for its gradients until a timeout.

A process that waits inside a collective operation cannot be interrupted from Python. So each one listens in a thread of its own and
leaves at once when it sees the broadcast, with the reason in its log; whatever is on the disk is whole, as everything there is written
atomically.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch.distributed as dist
from torch.distributed import Store

logger = logging.getLogger(__name__)

KEY = "reason"
SEEN = "seen"
POLL_INTERVAL_S = 0.5
SHUTDOWN_GRACE_S = 10.0
HOST_SHUTDOWN_DELAY_S = 1.0


class FailureBroadcast:
    """A failure broadcast that all processes of a run watch.

    Args:
        store: A connection of its own to what all share.
        rank: Of this process.
        size: Of the process group.
    """

    def __init__(self, store: Store, *, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self._is_over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listens while the body runs."""
        thread = threading.Thread(target=self._watch, name="failure-broadcast", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def broadcast(self, reason: str) -> None:
        """Tells the others why this process ends, and waits a moment until they know."""
        with suppress(dist.DistError, RuntimeError):  # the others may be gone already
            self.store.set(KEY, reason)
            deadline = time.monotonic() + SHUTDOWN_GRACE_S
            while self.store.add(SEEN, 0) < self.size - 1 and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL_S / 5)
            time.sleep(
                1.5 * HOST_SHUTDOWN_DELAY_S
            )  # until they are gone: a connection that breaks under them would be their reason

    def _watch(self) -> None:
        while not self._is_over.wait(POLL_INTERVAL_S):
            try:
                if not self.store.check([KEY]):
                    continue
                reason = self.store.get(KEY).decode()
                self.store.add(SEEN, 1)
            except (dist.DistError, RuntimeError):
                reason = "the process that connects all others is gone"
            if not self._is_over.is_set():
                self._exit(reason)

    def _exit(self, reason: str) -> None:
        logger.error("this process (rank %d) ends because another one failed: %s", self.rank, reason)
        if self.rank == 0:  # through which the others may still be talking
            time.sleep(HOST_SHUTDOWN_DELAY_S)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(1)
