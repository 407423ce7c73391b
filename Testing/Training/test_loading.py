"""Processes that prepare batches: where they cannot, the run ends in a sentence, and it ends when it is asked to."""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile

import pytest
from torch.utils.data import Dataset

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from Testing.Support.run_process import process_context, train_until_a_batch_hangs
from Testing.Support.training import disc_clip

LIMIT_S = 60
CONTEXT = process_context()
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals are POSIX")


class Clips(Dataset):
    """Disc clips; some end the process that makes them."""

    def __init__(self, *, kills_at=None, by=signal.SIGKILL):
        self.kills_at, self.by = kills_at, by

    def __getitem__(self, number):
        if number == self.kills_at:
            os.kill(os.getpid(), self.by)
        return disc_clip(number)


def load_without_shared_memory(told):
    """What is put into shared memory counts as a file; so does a log that this process may be writing, hence one of its own."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        list(loaded(Clips(), range(9), workers=1))
    except DataError as error:
        told.send((error.message, error.hint, len(multiprocessing.active_children())))
    told.send(len(list(loaded(Clips(), range(2), workers=0))))


def test_shared_memory_that_is_too_small_is_reported_at_once():
    ours, its = CONTEXT.Pipe()
    process = CONTEXT.Process(target=load_without_shared_memory, args=(its,))
    process.start()
    assert ours.poll(LIMIT_S)
    message, hint, num_left = ours.recv()
    assert "does not fit into shared memory, on Linux /dev/shm" in message
    assert "workers = 0" in hint
    assert num_left == 0
    assert ours.poll(LIMIT_S)
    assert ours.recv() == 2
    process.join(LIMIT_S)
    assert process.exitcode == 0


def load_in(folder, told):
    """With a temporary folder whose path is too long for the sockets through which batches are handed over."""
    folder.mkdir(parents=True)
    tempfile.tempdir = str(folder)
    multiprocessing.current_process()._config.pop("tempdir", None)  # what the tests' own processes have in its place
    told.send(len(list(loaded(Clips(), range(3), workers=1))))


@pytest.mark.parametrize("name", ["plain", "n" * 200])
def test_the_temporary_folder_may_have_a_path_of_any_length(name, tmp_path):
    ours, its = CONTEXT.Pipe()
    process = CONTEXT.Process(target=load_in, args=(tmp_path / name, its))
    process.start()
    has_answered = ours.poll(LIMIT_S)
    process.kill()
    process.join(LIMIT_S)
    assert has_answered
    assert ours.recv() == 3


def load_until_one_is_killed(told):
    """Where processes are started by a server, as by default from Python 3.14 on, and PyTorch does not learn how they end."""
    with pytest.raises(DataError) as error:
        list(loaded(Clips(kills_at=1, by=signal.SIGBUS), range(9), workers=1))
    told.send(error.value.message)


def test_how_a_process_of_a_server_has_ended_is_reported():
    ours, its = CONTEXT.Pipe()
    process = CONTEXT.Process(target=load_until_one_is_killed, args=(its,))
    process.start()
    assert ours.poll(LIMIT_S)
    assert "/dev/shm, is full" in ours.recv()
    process.join(LIMIT_S)


@pytest.mark.parametrize(("by", "reason"), [(signal.SIGKILL, "memory may be full"), (signal.SIGBUS, "/dev/shm")])
def test_a_process_that_is_ended_from_outside_is_reported(by, reason):
    with pytest.raises(DataError, match=f"ended from outside: .*{reason}"):
        list(loaded(Clips(kills_at=1, by=by), range(9), workers=1))
    assert multiprocessing.active_children() == []


def test_a_run_that_waits_for_a_batch_saves_and_ends_on_sigterm(tmp_path):
    is_waiting = CONTEXT.Event()
    process = CONTEXT.Process(target=train_until_a_batch_hangs, args=(tmp_path / "run", is_waiting.set))
    process.start()
    assert is_waiting.wait(LIMIT_S)
    process.join(0.2)
    os.kill(process.pid, signal.SIGTERM)
    process.join(LIMIT_S)
    assert process.exitcode == 0
    assert RunFolder(tmp_path / "run").newest().training.numbers["step"] == 1
