"""Kills of what computes, of what trains and of what a person works in, at random moments and while they start; what is lost is named.

Usage: python -m benchmarks.kills [--kills 1000] [--seed 0]

The models and volumes are tiny, so that a kill costs a fraction of a second. After every kill of a worker, whoever waited has been told and
the next worker knows all that was said and shown. A run of training that was killed many times ends with the very weights of one that was
not. Of the prompts in a host that is killed, its journals know everything that the session had taken; hosts that are killed while they
bring such work back lose none of it.
"""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.report import as_table
from NeuroSAM2Core.remote import EngineClient
from NeuroSAM2Core.remote.connector import LocalWorker
from NeuroSAM2Core.remote.messages import Disconnected
from NeuroSAM2Core.training.config.fine_tuning import FineTuneConfig
from NeuroSAM2Core.training.fine_tune import fine_tune
from NeuroSAM2Core.training.trainer import loop
from Testing.Support import host_process, run_process
from Testing.Support.forked import WarmProcess
from Testing.Support.host_process import left_in, work_until_killed
from Testing.Support.person import Person
from Testing.Support.run_process import kill_a_run, steps_saved, without_pictures
from Testing.Support.training import disc_batches, mini_config
from Testing.Support.volumes import ball_volume
from Testing.Support.worker import TOKEN, events_until, save_small_model

KILLS_OF_A_PERSON, KILLS_OF_A_RUN, KILLS_OF_A_SCENE = 25, 30, 10
STEPS = 40
COLD_SHARE = 0.03
"""Of the kills of workers: those of a program that is being started from nothing, which takes seconds."""
LONGEST_START_S = 3.0
MANY = 1 << 30
"""Where the time is the bound."""
SHARES = {"worker": 0.7, "training": 0.15, "host": 0.15}
"""Of all kills."""


@dataclass(slots=True)
class Kills:
    """What came of the kills of one kind of process."""

    what: str
    count: int = 0
    at_the_start: int = 0
    """Of them: before it was ready."""
    seconds: float = 0.0
    defects: list[str] = field(default_factory=list)
    """Each a sentence or the end of a traceback; empty where nothing was lost."""


def kill_workers(kills: int, seed: int, *, until: float = float("inf")) -> Kills:
    """Workers of clients that click and propagate; some while they start from nothing."""
    found, warm, rng = Kills("worker"), WarmProcess(TOKEN), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        model = save_small_model(Path(folder) / "small.safetensors")
        while found.count < kills and time.monotonic() < until:
            if rng.random() < COLD_SHARE * KILLS_OF_A_PERSON:
                _attempt(found, lambda: _kill_cold_worker(rng))
                found.count, found.at_the_start = found.count + 1, found.at_the_start + 1
            person = Person(warm, ball_volume((8, 48, 56))[0], model, rng.randrange(1 << 30))
            many = min(KILLS_OF_A_PERSON, kills - found.count)
            _attempt(found, lambda person=person, many=many: person.work_through(many))
            found.count, found.at_the_start = found.count + person.kills, found.at_the_start + person.kills_at_the_start
            person.client.close()
    warm.close()
    return found


def kill_training(kills: int, seed: int, *, until: float = float("inf")) -> Kills:
    """Runs of training, a third of the kills while they start; each run ends bit-equal."""
    loop.plot_curves = without_pictures
    found, rng = Kills("training"), np.random.default_rng(seed)
    _forking()
    while found.count < kills and time.monotonic() < until:
        _attempt(found, lambda: _killed_run(found, min(KILLS_OF_A_RUN, kills - found.count), rng))
    return found


def kill_hosts(kills: int, seed: int, *, until: float = float("inf")) -> Kills:
    """Processes that a person works in, each of which brings back what the one before it left."""
    found, rng = Kills("host"), random.Random(seed)
    while found.count < kills and time.monotonic() < until:
        with tempfile.TemporaryDirectory() as folder:
            many = min(KILLS_OF_A_SCENE, kills - found.count)
            _attempt(found, lambda folder=folder, many=many: _killed_hosts(found, Path(folder), many, rng))
    return found


@cache
def _forking() -> ForkServerContext:
    """Processes that begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*run_process.MODULES, *host_process.MODULES])
    forkserver.ensure_running()
    return context


def _attempt(found: Kills, act: Callable[[], object]) -> None:
    """Whatever goes wrong is a defect, and the next one is tried."""
    began = time.monotonic()
    try:
        act()
    except Exception:
        found.defects.append(f"{found.what}: " + " | ".join(traceback.format_exc().splitlines()[-3:]))
    found.seconds += time.monotonic() - began


def _kill_cold_worker(rng: random.Random) -> None:
    """Whoever waits for it gets a sentence."""
    worker = LocalWorker.start()
    client = EngineClient(worker)
    end = time.monotonic() + rng.uniform(0.0, LONGEST_START_S)
    while time.monotonic() < end:
        client.poll()
        time.sleep(0.02)
    worker.process.kill()
    (*_, told) = events_until(client, lambda event: isinstance(event, Disconnected))
    assert told.reason, "whoever waits is told"
    client.close()


def _killed_run(found: Kills, kills: int, rng: np.random.Generator) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = mini_config(Path(folder) / "killed", steps=STEPS)
        for _ in range(kills):
            while_it_starts = bool(rng.random() < 1 / 3)
            kill_a_run(config.run.folder, STEPS, rng, while_it_starts=while_it_starts)
            found.count, found.at_the_start = found.count + 1, found.at_the_start + while_it_starts
        assert steps_saved(config.run.folder) < STEPS, "it was killed before its end"
        weights, expected = _weights(config), _undisturbed()
        assert all(torch.equal(value, weights[name]) for name, value in expected.items()), "bit-equal"


@cache
def _undisturbed() -> dict[str, torch.Tensor]:
    """What a run ends with that nobody kills."""
    with tempfile.TemporaryDirectory() as folder:
        config = mini_config(Path(folder) / "whole", steps=STEPS)
        return _weights(replace(config, run=replace(config.run, save_every_s=3600.0)))


def _weights(config: FineTuneConfig) -> dict[str, torch.Tensor]:
    """What a run ends with."""
    outcome = fine_tune(config, torch.device("cpu"), batches=disc_batches(), resume=True)
    return load_file(outcome.folder.model)


def _killed_hosts(found: Kills, folder: Path, kills: int, rng: random.Random) -> None:
    known: frozenset[str] = frozenset()
    context = _forking()
    for _ in range(kills):
        told, tells = context.Pipe(duplex=False)
        host = context.Process(target=work_until_killed, args=(folder, rng.randrange(1 << 30), tells))
        host.start()
        tells.close()
        if rng.random() < 1 / 3:
            host.join(rng.uniform(0.0, 0.4))  # while it starts and brings back
        elif told.poll(60):
            host.join(rng.uniform(0.0, 0.2))
        host.kill()
        host.join(60)
        found.count += 1
        notice = _news(told)
        found.at_the_start += not notice
        for what, said in notice:
            assert what != "recovered" or said >= known, f"of {len(known)} prompts {len(said)} came back"
            if what != "recovered":  # a box whose place was being taken by another may be gone
                known = said if what == "said" else known - said
        left = left_in(folder)
        assert not known or any(said >= known for said in left), (
            f"no journal of {len(left)} knows all {len(known)} prompts"
        )


def _news(told: Connection) -> list[tuple[str, frozenset[str]]]:
    """All that a host has told, until it ended."""
    notice = []
    try:
        while told.poll(0):
            notice.append(told.recv())
    except (EOFError, OSError):
        pass
    return notice


def kill(kills: int, seed: int, *, until: float = float("inf")) -> list[Kills]:
    """So many kills, shared among the kinds."""
    act = {"worker": kill_workers, "training": kill_training, "host": kill_hosts}
    return [act[kind](max(1, round(share * kills)), seed, until=until) for kind, share in SHARES.items()]


def kill_for(seconds: float, seed: int) -> list[Kills]:
    """As many as a time allows, which the kinds share."""
    act = {"worker": kill_workers, "training": kill_training, "host": kill_hosts}
    return [act[kind](MANY, seed, until=time.monotonic() + share * seconds) for kind, share in SHARES.items()]


def table(found: list[Kills]) -> str:
    """Markdown."""
    rows = [
        (one.what, str(one.count), str(one.at_the_start), f"{one.seconds:.0f} s", str(len(one.defects)))
        for one in found
    ]
    return as_table(("killed", "kills", "while it started", "time", "lost or without a word"), rows)


def main() -> int:
    """Kills, and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = kill(asked.kills, asked.seed)
    defects = [defect for one in found for defect in one.defects]
    print(table(found), *defects, sep="\n")
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
