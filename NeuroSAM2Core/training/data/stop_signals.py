"""The signals that ask a run to stop, and how processes that prepare batches ignore them."""

import signal
import sys

SIGNALS = [signal.SIGTERM, signal.SIGINT]
if sys.platform == "win32":
    SIGNALS.append(signal.SIGBREAK)


def ignore_stop_signals(worker: int) -> None:
    """For processes that prepare batches: a signal to the whole group must not end them under the step that is running."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
