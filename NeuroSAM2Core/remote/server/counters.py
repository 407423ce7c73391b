"""What a worker counts of its work, and how it is told: as text that Prometheus reads, over HTTP.

Both threads of a worker count. What is told says how much is done and for how long, and never what: no token, no client, no file.
"""

import http.server
import itertools
import socket
import socketserver
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from NeuroSAM2Core.errors import WorkerError
from NeuroSAM2Core.version import __version__

BUCKETS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Upper bounds of the histogram of waits."""
SILENT_AFTER_S = 30.0
"""A worker that has not beaten for so long is not healthy."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_TIMEOUT_S = 10.0
"""Of whoever asks for the counters and does not finish asking."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauges:
    """How a worker is at one moment."""

    num_accepted: int = 0
    """Connections that it has taken so far."""
    num_refused: int = 0
    """Of them, those that were refused: they showed no token, a wrong one, or there was no place."""
    num_open: int = 0
    """Of them, those that are not being closed."""
    num_clients: int = 0
    """Of these, authenticated ones."""
    num_open_requests: int = 0
    """Of all clients."""
    memory_bytes: int = 0
    """Volumes, features and masks of all clients."""
    max_memory_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All that a worker has counted so far."""

    gauges: Gauges = field(default_factory=Gauges)
    began: float = 0.0
    """When the worker began, seconds since 1970."""
    beat: float = 0.0
    """When its network thread last had a turn, seconds since 1970."""
    compute_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of computing by kind of request."""
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Ended requests by kind and outcome: done, failed, cancelled or superseded."""
    wait_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds from a request's coming to its end, added up by kind."""
    waits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By kind how many waits are within each bound of `BUCKETS_S` and above the one before; the last number is of those above all."""

    @property
    def busy_s(self) -> float:
        """Seconds of computing so far."""
        return sum(self.compute_s.values())

    def is_healthy(self, now: float) -> bool:
        """Whether it has had a turn lately."""
        return now - self.beat < SILENT_AFTER_S


class Counters:
    """Counts; used by both threads of a worker.

    Args:
        on_beat: Gets a snapshot at every beat of the network thread.
    """

    def __init__(self, on_beat: Callable[[Snapshot], None] = lambda snapshot: None) -> None:
        self._on_beat, self._lock = on_beat, threading.Lock()
        self._began = self._beat = time.time()
        self._gauges = Gauges()
        self._compute_s: defaultdict[str, float] = defaultdict(float)
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._wait_s: defaultdict[str, float] = defaultdict(float)
        self._waits: dict[str, list[int]] = {}

    def computed(self, kind: str, seconds: float) -> None:
        """One step of a request was computed."""
        with self._lock:
            self._compute_s[kind] += seconds

    def ended(self, kind: str, outcome: str, wait_s: float) -> None:
        """A request has ended, so long after it came."""
        place = next((n for n, bound in enumerate(BUCKETS_S) if wait_s <= bound), len(BUCKETS_S))
        with self._lock:
            self._outcomes[kind, outcome] += 1
            self._wait_s[kind] += wait_s
            self._waits.setdefault(kind, [0] * (len(BUCKETS_S) + 1))[place] += 1

    def beat(self, gauges: Gauges) -> None:
        """The network thread has a turn."""
        with self._lock:
            self._gauges, self._beat = gauges, time.time()
        self._on_beat(self.snapshot())

    def snapshot(self) -> Snapshot:
        """What was counted so far."""
        with self._lock:
            return Snapshot(
                gauges=self._gauges,
                began=self._began,
                beat=self._beat,
                compute_s=dict(self._compute_s),
                outcomes=dict(self._outcomes),
                wait_s=dict(self._wait_s),
                waits={kind: tuple(counts) for kind, counts in self._waits.items()},
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerState:
    """All workers of a server."""

    workers: Sequence[Snapshot | None]
    """One each; None for one that has not reported yet."""
    num_restarts: int = 0
    """Workers that had ended and were started anew."""

    def is_healthy(self, now: float) -> bool:
        """Whether all workers are."""
        return all(one is not None and one.is_healthy(now) for one in self.workers)


def as_text(state: ServerState, now: float) -> str:
    """The counters in Prometheus's text format.

    Args:
        state: What is told.
        now: Seconds since 1970.
    """
    lines: list[str] = []

    def tell(name: str, kind: str, what: str, samples: Iterator[tuple[Mapping[str, object], float]]) -> None:
        lines.extend((f"# HELP neurosam2_{name} {what}", f"# TYPE neurosam2_{name} {kind}"))
        lines.extend(_sample(name, labels, value) for labels, value in samples)

    there = [({"process": n}, one) for n, one in enumerate(state.workers) if one is not None]

    def of_each(value: Callable[[Snapshot], float]) -> Iterator[tuple[Mapping[str, object], float]]:
        return ((labels, value(one)) for labels, one in there)

    tell("info", "gauge", "The version of the server.", iter([({"version": __version__}, 1)]))
    tell("restarts_total", "counter", "Workers that were started anew.", iter([({}, state.num_restarts)]))
    is_up = [one is not None and one.is_healthy(now) for one in state.workers]
    tell("up", "gauge", "1 for a worker that is healthy.", (({"process": n}, up) for n, up in enumerate(is_up)))
    tell("start_time_seconds", "gauge", "When a worker began.", of_each(lambda one: one.began))
    for name, kind, what, field_name in (
        ("clients", "gauge", "Authenticated clients.", "num_clients"),
        ("connections_total", "counter", "Connections so far.", "num_accepted"),
        ("refused_connections_total", "counter", "Connections that were refused.", "num_refused"),
        ("open_requests", "gauge", "Requests that have not ended.", "num_open_requests"),
        ("memory_bytes", "gauge", "Volumes, features and masks.", "memory_bytes"),
        ("memory_limit_bytes", "gauge", "The most that these may take.", "max_memory_bytes"),
    ):
        tell(name, kind, what, of_each(lambda one, place=field_name: getattr(one.gauges, place)))  # type: ignore[misc]
    tell(
        "compute_seconds_total",
        "counter",
        "Seconds of computing.",
        ((labels | {"request": kind}, s) for labels, one in there for kind, s in sorted(one.compute_s.items())),
    )
    tell(
        "requests_total",
        "counter",
        "Requests that have ended.",
        (
            (labels | {"request": kind, "outcome": outcome}, count)
            for labels, one in there
            for (kind, outcome), count in sorted(one.outcomes.items())
        ),
    )
    name = "request_seconds"
    lines += [f"# HELP neurosam2_{name} From a request's coming to its end.", f"# TYPE neurosam2_{name} histogram"]
    for labels, one in there:
        for kind, counts in sorted(one.waits.items()):
            of_kind: Mapping[str, object] = {**labels, "request": kind}
            bounds = [*map(str, BUCKETS_S), "+Inf"]
            for bound, total in zip(bounds, itertools.accumulate(counts), strict=True):
                lines.append(_sample(f"{name}_bucket", {**of_kind, "le": bound}, total))
            lines.append(_sample(f"{name}_sum", of_kind, one.wait_s[kind]))
            lines.append(_sample(f"{name}_count", of_kind, sum(counts)))
    return "\n".join(lines) + "\n"


def _sample(name: str, labels: Mapping[str, object], value: float) -> str:
    told = ",".join(f'{key}="{_escaped(str(text))}"' for key, text in labels.items())
    return f"neurosam2_{name}{{{told}}} {float(value)!r}" if told else f"neurosam2_{name} {float(value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class MetricsServer:
    """Answers `GET /metrics` and `GET /healthz` in threads of its own.

    Args:
        host: Where it listens.
        port: 0 for any.
        state: What is told; called in any thread.

    Raises:
        WorkerError: The address cannot be used.
    """

    def __init__(self, host: str, port: int, state: Callable[[], ServerState]) -> None:
        class Handler(_Handler):
            source = staticmethod(state)

        try:
            self._server = (_HttpServer6 if ":" in host else _HttpServer)((host, port), Handler)
        except (OSError, OverflowError) as error:
            raise WorkerError(
                f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}",
                hint="choose another --metrics-port, or an address of this machine",
            ) from error
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()


class _HttpServer(http.server.ThreadingHTTPServer):
    """Without a look-up of this machine's name, which may take long."""

    def server_bind(self) -> None:
        """Binds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]


class _HttpServer6(_HttpServer):
    address_family = socket.AF_INET6


class _Handler(http.server.BaseHTTPRequestHandler):
    """Two pages, both read-only."""

    source: Callable[[], ServerState]
    timeout = REQUEST_TIMEOUT_S
    server_version = "neurosam2"
    sys_version = ""

    def do_GET(self) -> None:
        """Answers."""
        state, now = self.source(), time.time()
        if self.path == "/metrics":
            self._answer(200, METRICS_TYPE, as_text(state, now))
        elif self.path == "/healthz":
            is_healthy = state.is_healthy(now)
            self._answer(200 if is_healthy else 503, "text/plain", "ok\n" if is_healthy else "a worker is silent\n")
        else:
            self._answer(404, "text/plain", "there are /metrics and /healthz\n")

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (as the library has it)
        """Nothing: it is asked every few seconds."""
