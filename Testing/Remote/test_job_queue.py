"""Whose turn it is: decisions without threads or sockets."""

import pytest

from NeuroSAM2Core.prompts import PointPrompt, PromptSet
from NeuroSAM2Core.remote.messages import CloseVolume, Precompute, PredictSlice, PreviewSlice, Propagate, RestoreSlice
from NeuroSAM2Core.remote.server.job_queue import Job, Schedule
from NeuroSAM2Core.volume import Axis, SlicePlane


def click(client, number, *, index=3, object_id=1, volume="v"):
    prompts = PromptSet(object_id=object_id, plane=SlicePlane(Axis.K, index), points=(PointPrompt(1, 1),))
    return Job(client, number, PredictSlice(volume_id=volume, prompts=prompts))


def propagation(client, number):
    return Job(client, number, Propagate(volume_id="v", object_ids=(1,)))


def precomputation(client, number):
    return Job(client, number, Precompute(volume_id="v", axis=Axis.K, index=3))


def preview(client, number, *, volume="v"):
    prompts = PromptSet(object_id=1, plane=SlicePlane(Axis.K, 3), points=(PointPrompt(1, 1),))
    return Job(client, number, PreviewSlice(volume_id=volume, prompts=prompts))


@pytest.fixture
def schedule():
    return Schedule()


def order(schedule, count=None):
    taken = []
    while (job := schedule.next()) is not None and len(taken) != count:
        taken.append(job.number)
        if count is None:
            schedule.end(job)
    return taken


def test_clicks_come_before_propagations_and_these_before_what_is_done_in_advance(schedule):
    for job in (precomputation(1, 1), propagation(1, 2), click(1, 3), click(1, 4, index=5)):
        assert schedule.add(job) == []
    assert order(schedule) == [3, 4, 2, 1]


def test_a_preview_comes_after_clicks_and_before_what_takes_long(schedule):
    for job in (precomputation(1, 1), propagation(1, 2), click(1, 3), preview(1, 4), preview(2, 1)):
        assert schedule.add(job) == []
    assert order(schedule) == [3, 1, 4, 2, 1]


def test_a_preview_gives_way_to_a_newer_one_and_to_any_click_of_its_client(schedule):
    first, second, other = preview(1, 1), preview(1, 2, volume="w"), preview(2, 1)
    schedule.add(first)
    schedule.add(other)
    assert schedule.add(second) == [first]
    assert schedule.add(click(1, 3, index=9)) == [second]
    assert order(schedule) == [3, 1]


def test_of_clicks_on_the_same_object_and_slice_only_the_newest_counts(schedule):
    jobs = [
        click(1, 1), click(1, 2, index=4), click(1, 3, object_id=2), click(1, 4, volume="w"), click(2, 1), click(1, 5),
    ]  # fmt: skip
    pointless = [schedule.add(job) for job in jobs]
    assert pointless[:-1] == [[]] * 5
    assert pointless[-1] == [jobs[0]]
    assert len(order(schedule)) == 5


def test_a_newer_precomputation_replaces_the_older_one_but_not_another_clients(schedule):
    first, other = precomputation(1, 1), precomputation(2, 1)
    schedule.add(first)
    schedule.add(other)
    assert schedule.add(precomputation(1, 2)) == [first]
    assert sorted(order(schedule)) == [1, 2]


def test_clients_take_turns_and_each_ones_jobs_keep_their_order(schedule):
    for number in (1, 2, 3):
        schedule.add(Job(1, number, CloseVolume(volume_id=str(number))))
    schedule.add(Job(2, 11, CloseVolume(volume_id="x")))
    schedule.add(Job(3, 21, CloseVolume(volume_id="y")))
    assert order(schedule) == [1, 11, 21, 2, 3]


def test_propagations_of_clients_take_turns_slice_by_slice(schedule):
    schedule.add(propagation(1, 1))
    schedule.add(propagation(2, 2))
    assert order(schedule, 5) == [1, 2, 1, 2, 1]


def test_what_is_cancelled_comes_next_to_be_ended(schedule):
    for job in (click(1, 1, index=1), click(1, 2, index=2), propagation(1, 3), precomputation(1, 4)):
        schedule.add(job)
    assert schedule.cancel(1, 2).is_cancelled
    assert schedule.cancel(1, 4).is_cancelled
    assert schedule.cancel(1, 9) is None
    assert schedule.cancel(2, 1) is None
    assert order(schedule) == [2, 1, 4, 3]


def test_a_job_that_must_be_tried_again_is_not_lost_to_a_newer_one_nor_replaces_it(schedule):
    first, second = click(1, 1), click(1, 2)
    schedule.add(first)
    assert schedule.next() is first
    schedule.add(second)
    schedule.put_back(first)
    assert order(schedule) == [1, 2]


def test_a_client_that_leaves_takes_its_jobs_along(schedule):
    for job in (click(1, 1), propagation(1, 2), click(2, 3), propagation(2, 4)):
        schedule.add(job)
    schedule.drop_client(1)
    assert not schedule.has_jobs(1)
    assert schedule.has_jobs(2)
    assert order(schedule) == [3, 4]


def test_thousands_of_slices_to_restore_are_taken_quickly(schedule):
    work = RestoreSlice(volume_id="v", mask=None)
    for number in range(20000):
        schedule.add(Job(1, number, work))
    assert order(schedule) == list(range(20000))
