"""Slicer's error log: what its widgets, VTK and our own code write there. A session without a fault leaves it empty."""

import logging

errors = []
"""What was written, oldest first."""


def log_error(text):
    """What a widget of Slicer's logs as an error (qCritical)."""
    errors.append(text)


class _Handler(logging.Handler):
    def emit(self, record):
        log_error(self.format(record))


def open_log():
    """Errors of Python's loggers go into the log from now on."""
    logging.getLogger().addHandler(_Handler(logging.ERROR))
