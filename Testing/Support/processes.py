"""Waiting for what child processes do."""

STEP_S = 0.02


def wait_a_little(training):
    """Until the controller's process ends, or a moment has passed: what it writes into files tells nobody."""
    running = training._training or training._comparing
    if running is not None:
        running.wait(STEP_S)
