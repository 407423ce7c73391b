"""Which slices are remembered, by hand-worked cases."""

from NeuroSAM2Core.inference.propagation.memory_bank import MemoryConfig, select_memory
from NeuroSAM2Core.inference.propagation.passes import Pass, plan_bidirectional_sweep, plan_passes

RULES = MemoryConfig()


def test_the_slice_after_the_prompt_sees_only_the_prompt():
    chosen = select_memory(5, [4], [], RULES, num_slices=30)
    assert chosen.slices == ((4, 0),)
    assert chosen.pointers == ((4, 1),)


def test_recent_slices_come_oldest_first_with_their_distance_as_slot():
    chosen = select_memory(20, [4], range(5, 20), RULES, num_slices=30)
    assert chosen.slices == ((4, 0), (14, 6), (15, 5), (16, 4), (17, 3), (18, 2), (19, 1))
    assert chosen.pointers == ((4, 16), *((20 - d, d) for d in range(1, 16)))


def test_a_reverse_pass_mirrors_a_forward_one():
    forward = select_memory(12, [10], [11], RULES, num_slices=30)
    reverse = select_memory(17, [19], [18], RULES, num_slices=30, reverse=True)
    assert [slot for _, slot in forward.slices] == [slot for _, slot in reverse.slices]
    assert [d for _, d in forward.pointers] == [d for _, d in reverse.pointers]


def test_pointers_of_prompts_ahead_are_left_out_when_only_the_past_counts():
    assert select_memory(5, [4, 9], [], RULES, num_slices=30).pointers == ((4, 1),)
    rules = MemoryConfig(past_pointers_only=False)
    assert select_memory(5, [4, 9], [], rules, num_slices=30).pointers == ((4, 1), (9, -4))


def test_a_conditioning_slice_that_was_not_chosen_serves_as_a_recent_one():
    rules = MemoryConfig(max_conditioning=2)
    chosen = select_memory(10, [8, 9, 11], [], rules, num_slices=30)
    assert chosen.slices == ((9, 0), (11, 0), (8, 2))


def test_passes_run_outwards_and_meet_in_the_middle():
    assert plan_passes([10], 0, 20) == [Pass(10, 20), Pass(10, 0)]
    assert plan_passes([4, 10], 0, 20) == [Pass(4, 7), Pass(10, 20), Pass(4, 0), Pass(10, 8)]


def test_every_slice_but_the_confirmed_ones_is_reached_exactly_once():
    for confirmed in ([0], [19], [3, 4], [2, 9, 15], [0, 19]):
        reached = [n for run in plan_passes(confirmed, 0, 19) for n in run.slices]
        assert sorted(reached + confirmed) == list(range(20))


def test_a_range_bounds_the_passes():
    reached = {n for run in plan_passes([10], 8, 13) for n in run.slices}
    assert reached == {8, 9, 11, 12, 13}
    assert {n for run in plan_passes([2], 8, 9) for n in run.slices} == {3, 4, 5, 6, 7, 8, 9}


def test_sweeps_go_up_and_down_from_the_lowest_prompt():
    assert plan_bidirectional_sweep([4, 10], 0, 20) == [Pass(4, 20), Pass(4, 0)]
