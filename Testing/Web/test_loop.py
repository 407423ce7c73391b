"""Large files are written and read while the event loop answers, and can be given up."""

import asyncio
import threading
import time

import numpy as np
import pytest
from NeuroSAM2Lib.scene.files import packing
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.segmentation.object_actions import read_objects
from NeuroSAM2Web.file_io import FileIO, Target

from NeuroSAM2Core.volume import Volume
from Testing.Support.apart import run_apart
from Testing.Support.node_files import read_segmentation
from Testing.Support.pace import slowness
from Testing.Support.volumes import UPRIGHT
from Testing.Web.app_user import AppUser

SHAPE = (96, 192, 192)
LONGEST_S = 0.1
NUM_TRIES = 3
"""The best of so many counts: what else the machine does slows a thread, too."""


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A person with a large image and twelve objects."""
    tmp_path = tmp_path_factory.mktemp("loop")
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 900, (12, 24, 24)).repeat(8, 0).repeat(8, 1).repeat(8, 2).astype(np.int16)
    voxels += rng.integers(0, 30, SHAPE, np.int16)
    volume = Volume(voxels, UPRIGHT, name="large")
    volume.write(tmp_path / "large.nii.gz")
    user = AppUser(tmp_path / "home")
    user.files = FileIO(user.app_state)
    run_apart(user.files.open(tmp_path / "large.nii.gz", "large.nii.gz"))
    user.labels = np.zeros(SHAPE, np.uint8)
    for number in range(12):
        user.labels[8:88, 15 * number + 4 : 15 * number + 14, 20:170] = number + 1
    user.presenter.add_labels(read_objects(volume, volume.with_voxels(user.labels)))
    user.wake()
    return user


async def watched(work):
    """Does something, and returns the longest time that the loop was busy between two of its turns.

    Time of its own thread is counted: whatever else the machine does is not in it.
    """
    longest, last = 0.0, time.thread_time()
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
        await asyncio.sleep(0.002)
        last = time.thread_time()
    await task
    return longest


@pytest.mark.usefixtures("settled_heap")
@pytest.mark.parametrize("target", [Target.SEGMENTATION, Target.NIFTI, Target.SCENE])
def test_the_loop_answers_while_a_large_file_is_written(user, tmp_path, target):
    paths = [tmp_path / f"{n}{target.value}" for n in range(NUM_TRIES)]
    longest = min(run_apart(watched(user.files.save(target, path))) for path in paths)
    assert longest < LONGEST_S * slowness(time.thread_time)
    assert all(path.stat().st_size > 1000 for path in paths)


def test_a_segmentation_that_was_packed_beside_the_loop_is_whole(user, tmp_path):
    run_apart(user.files.save(Target.SEGMENTATION, tmp_path / "a.seg.nrrd"))
    assert (tmp_path / "a.seg.nrrd").stat().st_size < user.labels.size / 4
    node = read_segmentation(user.host.scene, tmp_path / "a.seg.nrrd", "again")
    found = SegmentationSnapshot.take(node, user.app_state.volume_node)
    np.testing.assert_array_equal(found.labels().voxels, user.labels)


@pytest.mark.parametrize("target", [Target.SEGMENTATION, Target.SCENE])
def test_saving_is_given_up_at_once_and_leaves_nothing(user, tmp_path, monkeypatch, target):
    given_up, pack = threading.Event(), packing.pack_nrrd
    monkeypatch.setattr(packing, "PIECE_BYTES", 1 << 8)
    monkeypatch.setattr(
        packing, "pack_nrrd", lambda *image: given_up.wait(20) and pack(*image)
    )  # or all might be packed
    path = tmp_path / f"a{target.value}"
    user.presenter.act(lambda session: session.next_object())

    async def give_up():
        task = asyncio.ensure_future(user.files.save(target, path))
        await asyncio.sleep(0)  # it is stored, and begins to be packed
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, given_up.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        began = time.monotonic()
        while list(tmp_path.glob(".*")) and time.monotonic() - began < 20:
            await asyncio.sleep(0.01)

    run_apart(give_up())
    assert not path.exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("settled_heap")
def test_the_loop_answers_while_a_large_segmentation_is_read(user, tmp_path):
    run_apart(user.files.save(Target.SEGMENTATION, tmp_path / "a.seg.nrrd"))
    longest = run_apart(watched(user.files.open(tmp_path / "a.seg.nrrd", "a.seg.nrrd")))
    assert longest < 3 * LONGEST_S * slowness(time.thread_time)
