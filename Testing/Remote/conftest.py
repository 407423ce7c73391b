"""What the worker's tests share."""

import pytest

from Testing.Support.volumes import ball_volume
from Testing.Support.worker import ThreadedWorker, opened, save_small_model


@pytest.fixture(scope="session")
def small_model_file(tmp_path_factory):
    return save_small_model(tmp_path_factory.mktemp("model") / "small.safetensors")


@pytest.fixture(scope="session")
def ball():
    return ball_volume((16, 48, 56))[0]


@pytest.fixture
def worker():
    with ThreadedWorker() as worker:
        yield worker


@pytest.fixture
def client(worker):
    return worker.client()


@pytest.fixture
def key(client, ball, small_model_file):
    """The ball, open under the small model."""
    return opened(client, ball, small_model_file)
