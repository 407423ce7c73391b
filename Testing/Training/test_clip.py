"""A batch of clips keeps what is real and what only fills it."""

import torch

from NeuroSAM2Core.training.data.clip import ClipBatch


def clips(num_objects, *, num_clips=1, value=0.0):
    return ClipBatch(torch.full((num_clips, 3, 8, 8), value), torch.ones(num_clips, num_objects, 3, 8, 8, dtype=bool))


def test_every_object_is_real_unless_reported_otherwise():
    assert clips(2, num_clips=3).is_real.tolist() == [[True, True]] * 3


def test_clips_with_fewer_objects_are_filled_up_with_empty_ones_that_are_not_real():
    batch = ClipBatch.stack([clips(1, value=0.1), clips(3, value=0.2), ClipBatch.stack([clips(2), clips(1)])])
    assert batch.is_real.tolist() == [
        [True, False, False],
        [True, True, True],
        [True, True, False],
        [True, False, False],
    ]
    assert torch.equal(batch.masks.flatten(2).any(dim=2), batch.is_real)
    assert batch.images[:, 0, 0, 0].tolist() == torch.tensor([0.1, 0.2, 0.0, 0.0]).tolist()


def test_a_batch_that_moves_keeps_what_is_real():
    batch = ClipBatch.stack([clips(1), clips(2)]).to(torch.device("cpu"))
    assert batch.is_real.tolist() == [[True, False], [True, True]]
