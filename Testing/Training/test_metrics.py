"""Overlaps and surface distances against independent implementations: MONAI's, brute force, and closed forms."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage
from scipy.spatial.distance import cdist

from NeuroSAM2Core.measures.agreement import dice, iou, surface_agreement
from NeuroSAM2Core.training.evaluation.cases import THRESHOLDS, medsam2_overlap

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.9, 1.1)]


def blob(seed, shape=(14, 20, 18)):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.5)
    grids = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return sum(g**2 for g in grids) + 6 * noise < 0.45


PAIRS = [(0, 1), (2, 3), (4, 5), (6, 6)]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("tolerance", [0.5, 2.0])
@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
def test_surfaces_agree_with_monai(pair, spacing, tolerance):
    a, b = blob(pair[0]), blob(pair[1])
    ours = surface_agreement(a, b, spacing, tolerance_mm=tolerance)
    batch = [torch.from_numpy(np.pad(x, 2))[None, None].float() for x in (a, b)]
    hd95 = compute_hausdorff_distance(*batch, include_background=True, percentile=95, spacing=spacing)
    share = compute_surface_dice(*batch, [tolerance], include_background=True, spacing=spacing)
    assert ours.hd95_mm == pytest.approx(hd95.item(), abs=1e-5)
    assert ours.surface_dice == pytest.approx(share.item(), abs=1e-6)


def surface_points(mask, spacing):
    padded = np.pad(mask, 1)
    points = []
    for k, j, i in np.argwhere(padded):
        faces = [padded[k + d[0], j + d[1], i + d[2]] for d in (*np.eye(3, dtype=int), *-np.eye(3, dtype=int))]
        if not all(faces):
            points.append((k, j, i))
    return np.array(points) * spacing


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", PAIRS[:2])
def test_surfaces_agree_with_brute_force(pair, spacing):
    a, b = blob(pair[0]), blob(pair[1])
    apart = cdist(surface_points(a, spacing), surface_points(b, spacing))
    there, back = apart.min(axis=1), apart.min(axis=0)
    ours = surface_agreement(a, b, spacing, tolerance_mm=1.5)
    assert ours.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert ours.surface_dice == pytest.approx(
        ((there <= 1.5).sum() + (back <= 1.5).sum()) / (len(there) + len(back))
    )  # fmt: skip


def test_a_shifted_cube_is_as_far_away_as_it_was_shifted():
    a, b = np.zeros((2, 20, 20, 20), bool)
    a[4:10, 4:10, 4:10] = True
    b[4:10, 4:10, 9:15] = True
    assert surface_agreement(a, b, (1, 1, 2.0), tolerance_mm=1).hd95_mm == pytest.approx(10.0)
    assert surface_agreement(a, a, (1, 1, 2.0), tolerance_mm=0.1).surface_dice == 1.0


def test_empty_masks_have_no_distance_but_a_share():
    full, empty = blob(0), np.zeros_like(blob(0))
    one = surface_agreement(full, empty, (1, 1, 1), tolerance_mm=1)
    assert math.isnan(one.hd95_mm)
    assert one.surface_dice == 0.0
    assert surface_agreement(empty, empty, (1, 1, 1), tolerance_mm=1).hd95_mm == 0.0


def test_overlaps_have_their_closed_form():
    a, b = np.zeros((2, 4, 4), bool)
    a[:2], b[1:3] = True, True
    assert dice(a, b) == 0.5
    assert iou(a, b) == pytest.approx(1 / 3)
    assert dice(a & False, b & False) == iou(a & False, b & False) == 1.0


def test_the_earlier_medsam2s_numbers_are_means_over_slices_and_thresholds():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((6, 5, 7)).astype(np.float32)
    truth = rng.random((6, 5, 7)) < 0.3
    truth[:2] = truth[5:] = False
    truth[3] = False
    logits[3] = -5
    ious, dices = [], []
    for n in range(2, 5):
        for threshold in THRESHOLDS:
            found, target = logits[n] > threshold, truth[n]
            both, either = (found & target).sum(), (found | target).sum()
            ious.append((both + 1e-6) / (either + 1e-6))
            dices.append((2 * both + 1e-4) / (found.sum() + target.sum() + 1e-4))
    ours = medsam2_overlap(logits, truth, 0)
    assert ours.iou == pytest.approx(np.mean(ious))
    assert ours.dice == pytest.approx(np.mean(dices))
    assert min(ours.iou, ours.dice) > 1 / 3, "an empty slice found empty counts as perfect"
    turned = medsam2_overlap(np.moveaxis(logits, 0, 2), np.moveaxis(truth, 0, 2), 2)
    assert turned == ours
