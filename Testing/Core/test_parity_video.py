"""The engine end to end against the reference's video predictor, on identical weights and slices, with the engine's own improvements
switched off (`EngineOptions.as_reference`)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core import EngineOptions, Session
from NeuroSAM2Core.inference.prediction.postprocess import to_size
from NeuroSAM2Core.volume import Axis
from Testing.Core.test_parity_stages import our_model
from Testing.Support.reference import ReferenceVideo, reference_model
from Testing.Support.volumes import noise_volume

HEIGHT, WIDTH = 96, 120
AXIAL = "axial"


class Pair:
    """The same volume and weights in both."""

    def __init__(
        self, name="sam2.1_hiera_t", image_size=128, num_slices=8, *, object_score=3.0, overrides=(), **options
    ):
        volume = noise_volume(num_slices, HEIGHT, WIDTH)
        self.ours = Session(
            our_model(name, image_size, object_score),
            volume,
            options=replace(EngineOptions.as_reference(), **{"half_memory": False, **options}),
        )
        with torch.inference_mode():
            view = self.ours._view(Axis.K)
        frames = view.features.model_input([(n, view.crops.whole) for n in range(num_slices)])
        predictor = reference_model(
            name, image_size, object_score_bias=object_score, overrides=tuple(overrides), video=True
        )
        self.reference = ReferenceVideo(
            predictor, frames.clone(), HEIGHT, WIDTH, half_memory=self.ours.options.half_memory
        )

    def box(self, frame, obj_id, box):
        x0, y0, x1, y1 = box
        self.ours.add_box(obj_id, AXIAL, frame, (y0, x0, y1, x1))
        return self.reference.add(frame, obj_id, box=box)

    def clicks(self, frame, obj_id, points, labels, *, box=None):
        """Clicks one after the other, as a person makes them."""
        for (x, y), label in zip(points, labels, strict=True):
            self.ours.add_point(obj_id, AXIAL, frame, (y, x), positive=bool(label))
            self.reference.predictor.add_new_points_or_box(
                self.reference.state,
                frame,
                obj_id,
                points=np.array([[x, y]], dtype=np.float32),
                labels=np.array([label], dtype=np.int32),
                clear_old_points=False,
            )

    def mask(self, frame, obj_id, mask):
        self.ours.add_mask(obj_id, AXIAL, frame, mask)
        return self.reference.add_mask(frame, obj_id, mask)

    def our_logits(self, obj_id, frame):
        state = self.ours._object(obj_id)[1].state(frame)
        return None if state is None else to_size(state.logits, (HEIGHT, WIDTH), "bilinear")[0].numpy()

    def propagate_and_compare(self, *, reverse_too=True, atol=2e-4):
        theirs = self.reference.propagate()
        if reverse_too:
            theirs |= self.reference.propagate(reverse=True)
        first = None if reverse_too else min(theirs)
        for _ in self.ours.propagate(first=first):
            pass
        flipped = 0
        lively = False
        for row, obj_id in enumerate(self.ours.object_ids):
            for frame, logits in theirs.items():
                ours = self.our_logits(obj_id, frame)
                assert ours is not None, f"slice {frame} of object {obj_id} was not done"
                np.testing.assert_allclose(ours, logits[row, 0], atol=atol, rtol=1e-4, err_msg=f"slice {frame}")
                flipped += int((((ours > 0) != (logits[row, 0] > 0)) & (np.abs(logits[row, 0]) > atol)).sum())
                lively |= bool((ours > 0).any())
        assert flipped == 0
        return lively


@pytest.mark.parametrize("name", ["sam2.1_hiera_t", "sam2_hiera_t"])
def test_two_objects_forward_and_reverse_equal_the_reference(name):
    pair = Pair(name)
    pair.box(3, 1, (20, 15, 80, 70))
    pair.clicks(3, 1, [(30, 60)], [0])
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[40:80, 60:110] = True
    pair.mask(3, 2, mask)
    assert pair.propagate_and_compare()


def test_twenty_slices_from_one_click_equal_the_reference():
    pair = Pair(num_slices=20)
    pair.clicks(0, 1, [(60, 48)], [1])
    assert pair.propagate_and_compare(reverse_too=False)


def test_two_prompted_slices_forward_and_reverse_equal_the_reference():
    pair = Pair(num_slices=10)
    pair.clicks(2, 1, [(60, 48)], [1])
    pair.box(7, 1, (30, 20, 90, 80))
    assert pair.propagate_and_compare()


def test_memories_kept_in_half_precision_equal_the_reference():
    pair = Pair(num_slices=6, half_memory=True)
    pair.box(2, 1, (20, 15, 80, 70))
    pair.clicks(2, 1, [(30, 60)], [0])
    pair.clicks(2, 2, [(90, 30)], [1])
    assert pair.propagate_and_compare(atol=1e-2)


def test_an_absent_object_equals_the_reference():
    pair = Pair(object_score=-3.0, num_slices=5)
    pair.clicks(1, 1, [(60, 48)], [1])
    assert not pair.propagate_and_compare()


def test_stability_fallback_and_binarised_memory_equal_the_reference():
    overrides = [
        "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
        "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
        "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
        "++model.binarize_mask_from_pts_for_mem_enc=true",
    ]
    pair = Pair(num_slices=6, overrides=overrides, stability_fallback=True, binarize_prompted=True)
    pair.box(2, 1, (20, 15, 80, 70))
    pair.clicks(2, 2, [(90, 30), (20, 80)], [1, 0])
    assert pair.propagate_and_compare()


def test_labels_of_overlapping_objects_equal_the_references_masks_without_overlap():
    pair = Pair(num_slices=5, overrides=["++model.non_overlap_masks=true"])
    pair.box(1, 1, (20, 15, 80, 70))
    pair.box(1, 2, (30, 25, 100, 85))
    theirs = pair.reference.propagate()
    for _ in pair.ours.propagate(first=min(theirs)):
        pass
    ours = pair.ours.labels().voxels
    contested = 0
    for frame, logits in theirs.items():
        mine = np.stack([pair.our_logits(obj_id, frame) for obj_id in (1, 2)])
        contested += int((mine > 0).all(axis=0).sum())
        sure = (np.abs(mine) > 1e-3).all(axis=0) & (np.abs(mine[0] - mine[1]) > 1e-3)
        for obj_id in (1, 2):
            np.testing.assert_array_equal((ours[frame] == obj_id)[sure], (logits[obj_id - 1, 0] > 0)[sure])
    assert contested > 100, "the objects do not overlap: nothing was tested"


def test_a_correction_that_is_kept_equals_the_reference():
    pair = Pair(num_slices=8, overrides=["++model.add_all_frames_to_correct_as_cond=true"])
    pair.box(1, 1, (20, 15, 80, 70))
    assert pair.propagate_and_compare(reverse_too=False)
    before = pair.our_logits(1, 6)
    pair.clicks(5, 1, [(100, 80)], [1])
    assert pair.propagate_and_compare(reverse_too=False)
    assert np.abs(pair.our_logits(1, 6) - before).max() > 0.1, "the correction changed nothing"


@pytest.mark.parametrize("name", ["sam2.1_hiera_s", "sam2.1_hiera_b+", "sam2.1_hiera_l"])
def test_other_sizes_equal_the_reference(name):
    pair = Pair(name, num_slices=4)
    pair.box(1, 1, (20, 15, 80, 70))
    assert pair.propagate_and_compare()


@pytest.mark.parametrize(("image_size", "num_slices"), [(512, 4), (1024, 3)])
def test_large_inputs_equal_the_reference(image_size, num_slices):
    pair = Pair(image_size=image_size, num_slices=num_slices)
    pair.box(1, 1, (20, 15, 80, 70))
    assert pair.propagate_and_compare()
