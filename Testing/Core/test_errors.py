"""Errors are sentences that a person can read, however much a damaged file makes them quote."""

import pickle

import pytest

from NeuroSAM2Core.errors import MAX_HINT, MAX_MESSAGE, DataError, GeometryError, WorkerError


@pytest.mark.parametrize("kind", [DataError, GeometryError, WorkerError])
def test_a_message_that_quotes_too_much_loses_its_middle(kind):
    error = kind(f"a.mrb cannot be read: no place for {60_000 * 'x'}", hint="copy it again")
    assert len(str(error)) < MAX_MESSAGE + MAX_HINT
    assert str(error).startswith("a.mrb cannot be read: no place for x")
    assert "[...]" in str(error)
    assert str(error).endswith("x (copy it again)")


def test_other_messages_are_as_they_were_written():
    error = DataError("a " * (MAX_MESSAGE // 2), hint="b")
    assert error.message == "a " * (MAX_MESSAGE // 2)
    assert str(DataError("no voxels")) == "no voxels"
    assert str(pickle.loads(pickle.dumps(DataError("no voxels")))) == "no voxels"
