"""Closes connections on which no complete request arrives in time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LIMIT_S = 20.0


class SlowRequestGuard:
    """Watches over the connections of a server; each of them carries one request, see `auth_middleware`.

    Args:
        connections: Those that are open now.
        limit_s: For how long a request may take to arrive.
    """

    def __init__(self, connections: Callable[[], Iterable[web.RequestHandler]], *, limit_s: float = LIMIT_S) -> None:
        self._connections, self._limit_s = connections, limit_s
        self._since: dict[web.RequestHandler, float] = {}
        self._whole: set[web.RequestHandler] = set()

    def middleware(self) -> Middleware:
        """Notes that a request has arrived; the outermost one."""

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._whole.add(request.protocol)
            return await handler(request)

        return note

    async def watch(self, _app: web.Application) -> AsyncIterator[None]:
        """Watches while an application runs; for its `cleanup_ctx`."""
        watching = asyncio.create_task(self._watch())
        yield
        watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limit_s / 4)
            now, there = time.monotonic(), set(self._connections())
            self._whole &= there
            self._since = {one: self._since.get(one, now) for one in there - self._whole}
            for connection, since in self._since.items():
                if now - since >= self._limit_s:
                    connection.force_close()
                    if connection.transport is not None:
                        connection.transport.abort()
