"""What is computed next. Decisions only: nothing here computes, waits or knows a socket.

Short jobs (clicks and all that must keep their order with them) come first, client by client in turn; then a preview; then one slice of a
propagation; then, while nothing else is to do, one slice of a precomputation. Of clicks on the same object and slice only the newest
counts, and of previews only the newest since the last click.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from NeuroSAM2Core.protocol.messages import (
    CleanObject,
    CloseVolume,
    LoadModel,
    OpenVolume,
    Precompute,
    PredictSlice,
    PreviewSlice,
    Propagate,
    RemoveObject,
    RestoreSlice,
)
from NeuroSAM2Core.volume import SliceMask, Volume
from NeuroSAM2Core.worker.volume_store import IncomingVolume


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetClient:
    """All that belongs to a client is let go of: it has left, or has been idle for too long."""

    reason: str = ""
    """A sentence for the client; empty where it has left."""


Work = (
    LoadModel
    | OpenVolume
    | CloseVolume
    | PredictSlice
    | PreviewSlice
    | RestoreSlice
    | RemoveObject
    | Propagate
    | CleanObject
    | Precompute
    | ForgetClient
)
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
    """What is left of a propagation or precomputation that has begun."""
    num_done: int = 0
    place: int = 0
    """Counts the jobs in the order in which they were put on the schedule."""
    has_begun: bool = False
    has_ended: bool = False
    is_cancelled: bool = False
    cancelled_by: list[int] = field(default_factory=list)
    """Cancel requests that wait for the end of this one."""
    num_retries: int = 0
    """How often in a row the device had no room for its next step."""

    @property
    def is_long(self) -> bool:
        """Short ones go first, whenever they come."""
        return isinstance(self.work, PreviewSlice | Propagate | CleanObject | Precompute)

    def makes_pointless(self, other: "Job") -> bool:
        """An older job that waits need not be done any more."""
        if self.client != other.client:
            return False
        match self.work, other.work:
            case PredictSlice() as newer, PredictSlice() as older:
                return (newer.volume_id, newer.prompts.object_id, newer.prompts.plane) == (
                    older.volume_id,
                    older.prompts.object_id,
                    older.prompts.plane,
                )
            case (Precompute(), Precompute()) | (PreviewSlice() | PredictSlice(), PreviewSlice()):
                return True
        return False


class Schedule:
    """The jobs that have not ended, in the order in which their turn comes. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._short: dict[int, deque[Job]] = {}
        self._long: list[Job] = []
        self._last_served = 0
        self._num_added = 0

    def add(self, job: Job) -> list[Job]:
        """Takes a job and returns those that it makes pointless; they are out."""
        self._num_added += 1
        job.place = self._num_added
        if job.is_long:
            pointless = [other for other in self._long if job.makes_pointless(other)]
            self._long = [other for other in self._long if other not in pointless] + [job]
            return pointless
        waiting = self._short.setdefault(job.client, deque())
        pointless = [other for other in (*waiting, *self._long) if job.makes_pointless(other)]
        for other in pointless:
            (self._long if other.is_long else waiting).remove(other)
        waiting.append(job)
        return pointless

    def next(self) -> Job | None:
        """The job whose turn it is. A short one is out now; a long one stays until `end`, for its other steps."""
        if self._short:
            client = min(self._short, key=self._distance)
            job = self._short[client].popleft()
            if not self._short[client]:
                del self._short[client]
            self._last_served = client
            return job
        if not self._long:
            return None
        job = min(self._long, key=lambda job: (_rank(job), self._distance(job.client)))
        self._last_served = job.client
        return job

    def put_back(self, job: Job) -> None:
        """A job that was taken comes next once more."""
        if not job.is_long:
            self._short.setdefault(job.client, deque()).appendleft(job)

    def end(self, job: Job) -> None:
        """A long job needs no more steps."""
        if job in self._long:
            self._long.remove(job)

    def cancel(self, client: int, number: int) -> Job | None:
        """Marks the job of a request, if there is one; it comes before the others of its kind."""
        waiting = self._short.get(client, deque())
        for job in (*waiting, *self._long):
            if (job.client, job.number) == (client, number):
                job.is_cancelled = True
                if not job.is_long:
                    waiting.remove(job)
                    waiting.appendleft(job)
                return job
        return None

    def drop_client(self, client: int) -> None:
        """Throws away all jobs of a client."""
        self._short.pop(client, None)
        self._long = [job for job in self._long if job.client != client]

    def long_jobs(self, client: int, volume_id: str | None = None) -> list[Job]:
        """The propagations and precomputations of a client, for one of its volumes or all."""
        return [
            job
            for job in self._long
            if job.client == client
            and isinstance(job.work, PreviewSlice | Propagate | CleanObject | Precompute)
            and volume_id in (None, job.work.volume_id)
        ]

    def has_jobs(self, client: int) -> bool:
        """Something of this client's is not done."""
        return client in self._short or any(job.client == client for job in self._long)

    def _distance(self, client: int) -> tuple[bool, int]:
        """In turn: the clients after the one served last, then the others."""
        return client <= self._last_served, client


def _rank(job: Job) -> int:
    """Among long jobs: those to be ended, then previews, then whole objects, then what is done in advance."""
    if job.is_cancelled:
        return 0
    return 1 if isinstance(job.work, PreviewSlice) else 3 if isinstance(job.work, Precompute) else 2
