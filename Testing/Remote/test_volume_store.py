"""Voxels on the worker: by content, shared, bounded, and never believed unseen."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from NeuroSAM2Core import Volume
from NeuroSAM2Core.errors import GeometryError, ProtocolError, WorkerError
from NeuroSAM2Core.remote.messages import OpenVolume, VoxelChunk, VoxelFile
from NeuroSAM2Core.remote.server.volume_store import IncomingVolume, VolumeStore
from NeuroSAM2Core.remote.upload import CHUNK_BYTES, as_bytes, volume_id, wire_matrix, wire_voxels

RNG = np.random.default_rng(0)
LARGE = Volume(RNG.integers(0, 999, (9, 300, 301), dtype=np.int16), np.diag([1.0, 2, 3, 1]))
DATA = bytes(as_bytes(wire_voxels(LARGE)))


def opening(volume, **changes):
    voxels, matrix = wire_voxels(volume), wire_matrix(volume)
    key = volume_id(voxels, matrix)
    request = OpenVolume(volume_id=key, shape=volume.shape, dtype=voxels.dtype.name, ijk_to_ras=matrix)
    return replace(request, **changes)


def chunk(start, *, packed=True, data=None):
    raw = DATA[start : start + CHUNK_BYTES] if data is None else data
    return VoxelChunk(volume_id="v", start=start, is_compressed=packed, data=zlib.compress(raw) if packed else raw)


@pytest.mark.parametrize("packed", [True, False])
def test_chunks_become_the_volume_that_was_sent(packed):
    incoming = IncomingVolume(opening(LARGE))
    for start in range(0, len(DATA), CHUNK_BYTES):
        assert not incoming.is_complete
        incoming.take_chunk(chunk(start, packed=packed))
    volume = incoming.finish()
    np.testing.assert_array_equal(volume.voxels, LARGE.voxels)
    np.testing.assert_array_equal(volume.ijk_to_ras, LARGE.ijk_to_ras)


def test_a_file_becomes_the_volume_without_a_copy(tmp_path):
    (tmp_path / "a.voxels").write_bytes(DATA)
    incoming = IncomingVolume(opening(LARGE))
    incoming.take_file(VoxelFile(volume_id="v", name="a.voxels"), tmp_path)
    (tmp_path / "a.voxels").unlink()
    volume = incoming.finish()
    assert isinstance(volume.voxels.base, np.memmap)
    np.testing.assert_array_equal(volume.voxels, LARGE.voxels)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (chunk(CHUNK_BYTES), "expected those from 0"),
        (chunk(0, data=b"short"), "5 bytes of voxels came"),
        (chunk(0, data=b"x" * (8 * CHUNK_BYTES)), "more than they should be"),
        (chunk(0, packed=False, data=b"x" * (CHUNK_BYTES + 1)), "expected 1048576"),
        (replace(chunk(0), data=chunk(0).data[:-9]), "cut short"),
        (replace(chunk(0), data=b"not packed"), "cannot be unpacked"),
    ],
)
def test_chunks_that_are_not_the_next_voxels_are_refused(bad, words):
    with pytest.raises(ProtocolError, match=words):
        IncomingVolume(opening(LARGE)).take_chunk(bad)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": (0, 4, 4)}, "at least one voxel"),
        ({"shape": (-2, -2, 4)}, "at least one voxel"),
        ({"dtype": "object"}, "do not travel"),
        ({"dtype": "complex128"}, "do not travel"),
        ({"ijk_to_ras": (1.0,) * 15}, "16 numbers"),
    ],
)
def test_a_volume_that_cannot_be_is_refused_before_it_is_sent(changes, words):
    with pytest.raises(ProtocolError, match=words):
        IncomingVolume(opening(LARGE, **changes))


def test_other_content_than_announced_is_refused():
    small = Volume(np.ones((2, 3, 4), np.uint8), np.eye(4))
    incoming = IncomingVolume(opening(small))
    incoming.take_chunk(VoxelChunk(volume_id="v", start=0, is_compressed=False, data=b"\2" * 24))
    with pytest.raises(ProtocolError, match="not those that were announced"):
        incoming.finish()


def test_a_flat_matrix_is_refused():
    flat = tuple(float(v) for v in np.diag([1.0, 0, 1, 1]).ravel())
    voxels = np.ones((2, 3, 4), np.uint8)
    incoming = IncomingVolume(
        OpenVolume(volume_id=volume_id(voxels, flat), shape=(2, 3, 4), dtype="uint8", ijk_to_ras=flat)
    )
    incoming.take_chunk(VoxelChunk(volume_id="v", start=0, is_compressed=False, data=b"\1" * 24))
    with pytest.raises(GeometryError, match="flat"):
        incoming.finish()


@pytest.mark.parametrize("name", ["../a.voxels", "a\0b", "", "..", "/etc/hostname", "none", "link", "short.voxels"])
def test_only_files_of_the_right_size_in_the_folder_itself_are_mapped(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "a.voxels").write_bytes(DATA)
    (folder / "link").symlink_to(tmp_path / "a.voxels")
    (folder / "short.voxels").write_bytes(DATA[:-1])
    with pytest.raises(ProtocolError, match=r"no such file|bytes; expected"):
        IncomingVolume(opening(LARGE)).take_file(VoxelFile(volume_id="v", name=name), folder)
    with pytest.raises(ProtocolError, match="takes no files"):
        IncomingVolume(opening(LARGE)).take_file(VoxelFile(volume_id="v", name="a.voxels"), None)


def of_size(nbytes, value=0):
    return Volume(np.full((1, 1, nbytes), value, np.uint8), np.eye(4))


def bring(store, key, client, volume):
    """Announces a volume, lets all of it arrive and keeps it."""
    store.announce(key, client, volume.voxels.nbytes)
    store.arrive(key, client, volume.voxels.nbytes)
    return store.put(key, volume, client)


def test_volumes_nobody_uses_make_room_and_those_in_use_do_not():
    store = VolumeStore(100)
    for key, client in (("a", 1), ("b", 2)):
        bring(store, key, client, of_size(40))
    with pytest.raises(WorkerError, match="has memory for"):
        store.announce("c", 3, 40)
    store.release("a", 1)
    assert store.use("a", 3) is not None  # still held, used again
    store.release("a", 3)
    store.announce("c", 3, 60)
    assert store.use("a", 1) is None
    assert store.use("b", 1) is not None
    store.arrive("c", 3, 60)
    assert store.nbytes == 100


def test_who_announces_much_and_sends_nothing_takes_no_memory_from_others():
    store = VolumeStore(100)
    store.announce("a", 1, 100)
    bring(store, "b", 2, of_size(30))
    store.arrive("a", 1, 60)
    with pytest.raises(WorkerError, match="have come; the worker has memory for"):
        store.arrive("a", 1, 80)


def test_room_that_was_taken_is_given_back_when_a_client_leaves():
    store = VolumeStore(100)
    for key, client, nbytes in (("a", 1, 70), ("b", 2, 20)):
        store.announce(key, client, nbytes)
        store.arrive(key, client, nbytes)
    store.admit_request(1, 5, 10, most=50)
    with pytest.raises(WorkerError):
        store.announce("c", 3, 1)
    store.release_all(1)
    bring(store, "c", 3, of_size(80))
    assert store.nbytes == 100


def test_requests_of_a_client_are_bounded_together_and_counted_until_they_end():
    store = VolumeStore(100)
    store.admit_request(1, 1, 20, most=50)
    with pytest.raises(WorkerError, match="requests of this client"):
        store.admit_request(1, 2, 6, most=50)  # a quarter of the memory at most
    store.admit_request(2, 1, 25, most=50)
    assert store.nbytes == 45
    store.end_request(1, 1)
    store.admit_request(1, 2, 25, most=50)
    assert store.nbytes == 50


def test_what_is_held_elsewhere_pushes_out_volumes_nobody_uses():
    store = VolumeStore(100)
    bring(store, "a", 1, of_size(40))
    store.release("a", 1)
    store.others = 50
    store.announce("b", 1, 30)
    assert store.use("a", 1) is None


def test_the_first_of_equal_volumes_is_kept():
    store = VolumeStore(100)
    first = of_size(10)
    assert bring(store, "a", 1, first) is first
    assert bring(store, "a", 2, of_size(10)) is first
    assert store.nbytes == 10
