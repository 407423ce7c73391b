"""Waiting for what child processes do."""

import subprocess
from contextlib import suppress

STEP_S = 0.02


def wait_a_little(training):
    """Until the controller's process ends, or a moment has passed: what it writes into files tells nobody."""
    running = training._training or training._proving
    child = getattr(running, "_process", None)
    if child is not None:
        with suppress(subprocess.TimeoutExpired):
            child.wait(STEP_S)
