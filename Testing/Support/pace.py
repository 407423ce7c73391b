"""How fast the machine is at this moment, beside the one that limits of time were set on.

Other programs, and other machines' programs on the same processor, slow a test without any fault of ours.
"""

import random
import statistics
import time

import numpy as np

REFERENCE_S = 0.02
"""What `work` took on the slowest machine that the limits must hold on, with nothing beside it."""
TRIES = 5
MOST = 3.0
"""A limit is never stretched further: what is slower than that has a fault, or a machine that nothing can be measured on."""


def slowness(clock=time.perf_counter):
    """How many times longer than on the quiet reference machine things take now, from 1 to `MOST`.

    Args:
        clock: `time.thread_time` for limits on a thread's own time.
    """
    times = []
    for _ in range(TRIES):
        began = clock()
        work()
        times.append(clock() - began)
    return min(max(1.0, statistics.median(times) / REFERENCE_S), MOST)


def work():
    """A little of what the interpreter and NumPy do all day."""
    numbers = random.Random(0)
    seen = {n: numbers.random() for n in range(20_000)}
    ordered = sorted(seen, key=seen.get)
    matrix = np.arange(160_000, dtype=np.float32).reshape(400, 400) / 160_000
    for _ in range(4):
        matrix = np.tanh(matrix @ matrix.T)
    return ordered[0] + float(matrix.sum())
