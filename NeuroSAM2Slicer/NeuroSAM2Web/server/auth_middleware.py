"""The authentication of every HTTP request and every websocket, as middleware of aiohttp; `AuthPolicy` decides."""

import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from NeuroSAM2Core.log_rate_limit import LogRateLimiter
from NeuroSAM2Web.server.auth_policy import AuthPolicy

TOKEN = "token"
"""Query parameter of the address that is printed."""
HOME = "/index.html"
FORWARD = (
    f'<!DOCTYPE html><meta charset="utf-8"><title>NeuroSAM2</title><meta http-equiv="refresh" content="0;url={HOME}">'
)
"""A page of our own that leads on: the browser sends a strict cookie only where one of our own pages does."""

logger = logging.getLogger(__name__)


def auth_middleware(auth_policy: AuthPolicy) -> Middleware:
    """Lets pass what `access` lets pass; the first visit trades the token in the address for a cookie.

    Args:
        auth_policy: Of this start.
    """
    rate_limiter = LogRateLimiter()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        shown = request.query.get(TOKEN, ""), request.cookies.get(auth_policy.cookie, "")
        refusal = auth_policy.refusal(host=request.host, origin=request.headers.get("Origin"), shown=shown)
        response: web.StreamResponse
        if refusal:
            if (left_out := rate_limiter.take()) is not None:
                logger.warning("a request was refused: %s%s", refusal, left_out)
            response = web.Response(status=403, text=refusal)
        elif request.method == "GET" and TOKEN in request.query:
            if request.headers.get("Sec-Fetch-Site") == "cross-site":  # from the file that `browser` writes
                response = web.Response(text=FORWARD, content_type="text/html")
            else:
                response = web.Response(status=303, headers={"Location": HOME})
            response.set_cookie(auth_policy.cookie, auth_policy.token, httponly=True, samesite="Strict", path="/")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                _complete(answer, request.host)
                raise
        if not response.prepared:
            _complete(response, request.host)
        return response

    return check


def _complete(response: web.StreamResponse, host: str) -> None:
    response.headers.update(headers(host))
    response.force_close()  # one request a connection, so that `SlowRequestGuard` sees whether it arrived


def headers(host: str) -> dict[str, str]:
    """What a page may do: load and call nothing but this app, and be framed by nobody.

    Args:
        host: The Host header of the request.
    """
    policy = {
        "default-src": "'self'",
        "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",  # Vue compiles its templates in the browser
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": f"'self' ws://{host}",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
