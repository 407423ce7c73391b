"""The job queue between the network thread and the compute thread: a schedule behind a lock."""

import threading
import time
from dataclasses import dataclass

from NeuroSAM2Core.remote.server.schedule import ForgetClient, Job, Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientResources:
    """A client's model and open volumes, for `Status`."""

    model: str = ""
    device: str = ""
    volume_ids: tuple[str, ...] = ()


class JobQueue:
    """The queue of jobs, shared by the network thread and the compute thread."""

    def __init__(self) -> None:
        self._schedule = Schedule()
        self._changed = threading.Condition()
        self._is_closed = False
        self._since = 0.0
        self._client_resources: dict[int, ClientResources] = {}
        self.current: Job | None = None
        """What is being computed."""

    def put(self, job: Job) -> list[Job]:
        """Adds a job and returns those that it supersedes."""
        with self._changed:
            pointless = self._schedule.add(job)
            for other in pointless:
                other.has_ended = True
            self._changed.notify()
            return pointless

    def put_back(self, job: Job) -> None:
        """Puts a job back that must be retried."""
        with self._changed:
            self._schedule.put_back(job)

    def next_job(self) -> Job | None:
        """Waits for the next job and returns it; None once the queue is closed."""
        with self._changed:
            while not self._is_closed:
                job = self._schedule.next()
                if job is not None:
                    self.current, self._since = job, time.monotonic()
                    return job
                self._changed.wait()
            return None

    def release(self) -> None:
        """Marks the current step as done."""
        with self._changed:
            self.current = None

    def end(self, job: Job) -> list[int] | None:
        """The job needs no more steps. Returns the requests that wanted it to end; None where it had ended, while it was done, already."""
        with self._changed:
            if job.has_ended:
                return None
            job.has_ended = True
            self._schedule.end(job)
            return job.cancelled_by

    def cancel(self, client: int, number: int, cancel: int) -> bool:
        """Cancels a job after its current step. Returns False if it has ended already.

        Args:
            client: Whose job it is.
            number: The job's request.
            cancel: The request to end it, which has its own final event after the job's.
        """
        with self._changed:
            job = self._schedule.cancel(client, number)
            running = self.current
            if job is None and running is not None and (running.client, running.number) == (client, number):
                job = running
            if job is None or job.has_ended:
                return False
            job.is_cancelled = True  # where it is being done: it ends with this step
            job.cancelled_by.append(cancel)
            self._changed.notify()
            return True

    def hold(self, client: int, *, is_held: bool) -> None:
        """The jobs of a client wait as long as it is held: it has not read what it was sent."""
        with self._changed:
            self._schedule.hold(client, is_held=is_held)
            self._changed.notify()

    def long_jobs(self, client: int, volume_id: str | None = None) -> list[Job]:
        """The propagations and precomputations of a client, for one of its volumes or all."""
        with self._changed:
            return self._schedule.long_jobs(client, volume_id)

    def forget(self, client: int) -> None:
        """Replaces the jobs of a client that has left by one that frees its resources."""
        with self._changed:
            self._schedule.drop_client(client)
            if self.current is not None and self.current.client == client:
                self.current.is_cancelled = True
            self._schedule.add(Job(client, 0, ForgetClient()))
            self._changed.notify()

    def has_jobs(self, client: int) -> bool:
        """True while the client has jobs."""
        with self._changed:
            is_current = self.current is not None and self.current.client == client
            return is_current or self._schedule.has_jobs(client)

    def busy_with(self, client: int) -> tuple[int, float]:
        """The request of a client that is being computed and for how many seconds; zeros for none."""
        with self._changed:
            if self.current is None or self.current.client != client:
                return 0, 0.0
            return self.current.number, time.monotonic() - self._since

    def note(self, client: int, client_resources: ClientResources | None) -> None:
        """Notes what a client has now; None once it has left."""
        with self._changed:
            self._client_resources.pop(client, None)
            if client_resources is not None:
                self._client_resources[client] = client_resources

    def client_resources(self, client: int) -> ClientResources:
        """The resources of a client."""
        with self._changed:
            return self._client_resources.get(client, ClientResources())

    def close(self) -> None:
        """Closes the queue."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
