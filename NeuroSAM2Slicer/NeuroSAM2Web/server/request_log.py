"""What aiohttp logs of requests that it does not understand: few records, and without what was sent."""

import logging

from aiohttp.http_exceptions import HttpProcessingError

from NeuroSAM2Core.log_rate_limit import LogRateLimiter


class RequestLog(logging.Filter):
    """For aiohttp's logger.

    Args:
        rate_limiter: How many records pass.
    """

    def __init__(self, rate_limiter: LogRateLimiter) -> None:
        super().__init__()
        self._rate_limiter = rate_limiter

    def filter(self, record: logging.LogRecord) -> bool:
        """A request that is no HTTP may be one with the token in a damaged line: only its kind of damage is kept."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        if (left_out := self._rate_limiter.take()) is None:
            return False
        record.msg, record.args = f"a request could not be understood: {type(error).__name__}{left_out}", ()
        record.exc_info = record.exc_text = None
        return True
