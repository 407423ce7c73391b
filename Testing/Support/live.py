"""Sessions on real MRML with the real worker, and a way to wait for it without sleeping."""

import select
import time

from NeuroSAM2Lib.engine.link import EngineLink

from NeuroSAM2Core.remote import EngineClient, LoadModel

LIMIT_S = 90.0


def nano_link():
    """A worker of its own with the bundled model."""
    return EngineLink(EngineClient.launch, LoadModel(model="nano", device="cpu"))


def wait_until(session, is_done, *, limit_s=LIMIT_S):
    """Polls whenever the worker has something to say, until something holds."""
    deadline = time.monotonic() + limit_s
    while True:
        session.poll()
        if is_done():
            return
        assert time.monotonic() < deadline, f"it took longer than {limit_s:.0f} s: {session.notice}"
        engine = session.link.engine
        if engine is None or engine.is_closed:
            assert not session.link.has_failed, session.notice
            continue
        writes = [engine] if engine.wants_write and engine.welcome is not None else []
        select.select([engine], writes, [], 0.05)


def is_quiet(session):
    """Everything asked is answered."""
    records = session.document.records.values()
    return (
        not session.engine_sync.is_waiting
        and session.engine_sync.propagation.request is None
        and not any(r.unanswered for r in records)
    )


def wait_quiet(session):
    """Until everything asked is answered."""
    wait_until(session, lambda: is_quiet(session))
