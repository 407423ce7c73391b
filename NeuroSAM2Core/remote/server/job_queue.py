"""The job queue between the network thread and the compute thread: which job is computed next. No computation, no sockets.

Short jobs (clicks and all that must keep their order with them) come first, client by client in turn; then a preview; then one slice of a
propagation; then, while nothing else is to do, one slice of a precomputation. Of clicks on the same object and slice only the newest
counts, and of previews only the newest since the last click. A short job that turns out to be long is put back after a while, so that other
clients have their turn. Nothing is computed for a client that does not read, until it does.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from NeuroSAM2Core.remote.messages import (
    CleanObject,
    ComputeRequest,
    Precompute,
    PredictSlice,
    PreviewSlice,
    Propagate,
)
from NeuroSAM2Core.remote.server.volume_store import IncomingVolume
from NeuroSAM2Core.volume import SliceMask, Volume

CANCELLED, PREVIEW, WHOLE, IN_ADVANCE = RANKS = range(4)
"""Among long jobs: those to be ended, then previews, then whole objects, then what is done in advance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetClient:
    """Frees the resources of a client that has left or has been idle for too long."""

    reason: str = ""
    """A sentence for the client; empty where it has left."""


Work = ComputeRequest | ForgetClient
"""What the compute thread does."""


@dataclass(slots=True, eq=False)
class Job:
    """One request of one client on its way to its final event."""

    client: int
    number: int
    work: Work
    volume: Volume | None = None
    """For `OpenVolume`: the volume, where the worker holds it."""
    incoming: IncomingVolume | None = None
    """For `OpenVolume`: the voxels as they came, where it did not."""
    steps: Iterator[SliceMask | None] | None = None
    """What is left of a job of several steps that has begun."""
    num_done: int = 0
    num_left: dict[int, int] = field(default_factory=dict)
    """For `Propagate`: how many slices of each object are left at most."""
    place: int = 0
    """Counts the jobs in the order in which they were put on the schedule."""
    has_begun: bool = False
    has_ended: bool = False
    is_cancelled: bool = False
    came: float = field(default_factory=time.monotonic)
    """When the request came."""
    cancelled_by: list[int] = field(default_factory=list)
    """Cancel requests that wait for the end of this one."""
    num_retries: int = 0
    """How often in a row the device did not have enough memory for its next step."""

    @property
    def kind(self) -> str:
        """The name of what was asked for."""
        return type(self.work).__name__

    @property
    def is_long(self) -> bool:
        """Short ones go first, whenever they come."""
        return isinstance(self.work, PreviewSlice | Propagate | CleanObject | Precompute)

    @property
    def key(self) -> tuple[object, ...] | None:
        """A newer job of the same client with this key supersedes it; None if nothing does."""
        match self.work:
            case PredictSlice(volume_id=volume, prompts=prompts):
                return PredictSlice, volume, prompts.object_id, prompts.plane
            case PreviewSlice() | Precompute():
                return (type(self.work),)
        return None


class _Waiting:
    """The jobs of one client that wait, in order; looked up by request, and by what supersedes them, in constant time."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._by_number: dict[int, Job] = {}
        self._by_key: dict[tuple[object, ...], Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    @property
    def first(self) -> Job:
        """The oldest."""
        return next(iter(self._jobs.values()))

    def add(self, job: Job, *, is_next: bool = False) -> None:
        """Takes a job, as the last one or as the next."""
        self._jobs[job.place] = job
        if is_next:
            self._jobs.move_to_end(job.place, last=False)
        self._by_number[job.number] = job
        if job.key is not None and not (
            is_next and job.key in self._by_key
        ):  # the newest one of a key is what a newer one replaces
            self._by_key[job.key] = job

    def remove(self, job: Job) -> bool:
        """Lets a job go; False where it is not here."""
        if self._jobs.pop(job.place, None) is None:
            return False
        if self._by_number.get(job.number) is job:
            del self._by_number[job.number]
        if job.key is not None and self._by_key.get(job.key) is job:
            del self._by_key[job.key]
        return True

    def of_number(self, number: int) -> Job | None:
        """The job of a request."""
        return self._by_number.get(number)

    def of_key(self, key: tuple[object, ...] | None) -> Job | None:
        """The job that one with this key makes pointless."""
        return None if key is None else self._by_key.get(key)


class Schedule:
    """The jobs that have not ended, in the order in which their turn comes. Not thread-safe: its owner holds a lock.

    Every operation costs the same however many jobs wait, but for those that concern all long jobs of one client.
    """

    def __init__(self) -> None:
        self._short: dict[int, _Waiting] = {}
        self._long: dict[int, dict[int, _Waiting]] = {rank: {} for rank in RANKS}
        """By rank and client."""
        self._held: set[int] = set()
        self._last_served = 0
        self._num_added = 0

    def add(self, job: Job) -> list[Job]:
        """Adds a job, and removes and returns those that it supersedes."""
        self._num_added += 1
        job.place = self._num_added
        pointless = [older for older in self._outdated_by(job) if self._remove(older)]
        self._waiting(job).add(job)
        return pointless

    def _outdated_by(self, job: Job) -> Iterator[Job]:
        if job.is_long:
            older = [one.get(job.client) for one in self._long.values()]
            yield from [found for one in older if one and (found := one.of_key(job.key)) is not None]
            return
        waiting = self._short.get(job.client)
        if waiting and (found := waiting.of_key(job.key)) is not None:
            yield found
        if isinstance(job.work, PredictSlice):
            previews = [one.get(job.client) for one in self._long.values()]
            yield from [found for one in previews if one and (found := one.of_key((PreviewSlice,))) is not None]

    def next(self) -> Job | None:
        """The job whose turn it is. A short one is out now; a long one stays until `end`, for its other steps."""
        clients = [n for n in self._short if n not in self._held]
        if clients:
            client = min(clients, key=self._distance)
            job = self._short[client].first
            self._remove(job)
            self._last_served = client
            return job
        for rank in RANKS:
            clients = [n for n in self._long[rank] if rank == CANCELLED or n not in self._held]
            if clients:
                client = min(clients, key=self._distance)
                self._last_served = client
                return self._long[rank][client].first
        return None

    def put_back(self, job: Job) -> None:
        """A job that was taken comes next of its client's once more; others have their turn first."""
        if not job.is_long:
            self._waiting(job).add(job, is_next=True)

    def end(self, job: Job) -> None:
        """A long job needs no more steps."""
        if job.is_long:
            self._remove(job)

    def cancel(self, client: int, number: int) -> Job | None:
        """Marks the job of a request, if there is one; it comes before the others of its kind."""
        for waiting in (self._short.get(client), *(one.get(client) for one in self._long.values())):
            job = waiting.of_number(number) if waiting else None
            if job is not None:
                self._remove(job)
                job.is_cancelled = True
                self._waiting(job).add(job, is_next=True)
                return job
        return None

    def drop_client(self, client: int) -> None:
        """Throws away all jobs of a client."""
        self._held.discard(client)
        for one in (self._short, *self._long.values()):
            one.pop(client, None)

    def hold(self, client: int, *, is_held: bool) -> None:
        """The jobs of a client wait as long as it is held: it has not read what it was sent."""
        (self._held.add if is_held else self._held.discard)(client)

    def long_jobs(self, client: int, volume_id: str) -> list[Job]:
        """What a client has asked for a volume that takes many steps, or may wait."""
        return [
            job
            for one in self._long.values()
            for job in one.get(client, ())
            if isinstance(job.work, PreviewSlice | Propagate | CleanObject | Precompute)
            and job.work.volume_id == volume_id
        ]

    def has_jobs(self, client: int) -> bool:
        """True while the client has jobs."""
        return any(client in one for one in (self._short, *self._long.values()))

    def _waiting(self, job: Job) -> _Waiting:
        clients = self._long[_rank(job)] if job.is_long else self._short
        return clients.setdefault(job.client, _Waiting())

    def _remove(self, job: Job) -> bool:
        clients = self._long[_rank(job)] if job.is_long else self._short
        waiting = clients.get(job.client)
        if waiting is None or not waiting.remove(job):
            return False
        if not waiting:
            del clients[job.client]
        return True

    def _distance(self, client: int) -> tuple[bool, int]:
        """In turn: the clients after the one served last, then the others."""
        return client <= self._last_served, client


def _rank(job: Job) -> int:
    if job.is_cancelled:
        return CANCELLED
    return PREVIEW if isinstance(job.work, PreviewSlice) else IN_ADVANCE if isinstance(job.work, Precompute) else WHOLE


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientResources:
    """A client's model and open volumes, for `Status`."""

    model: str = ""
    device: str = ""
    volume_ids: tuple[str, ...] = ()


class JobQueue:
    """A schedule behind a lock, shared by the network thread and the compute thread."""

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

    def long_jobs(self, client: int, volume_id: str) -> list[Job]:
        """What a client has asked for a volume that takes many steps, or may wait."""
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
