"""The compiled kernels on a CUDA device: what the CPU gives, for every connectivity, shape and stride."""

import numpy as np
import pytest
import torch

from NeuroSAM2Core.components import cpu, device
from NeuroSAM2Core.components.cpu import dims_of
from Testing.Support.masks import CONNECTIVITIES, all_small_images, comb, first_voxel_labels, random_mask, spiral

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(
        torch.cuda.is_available() and not device.is_extension_active(), reason="the CUDA kernels are not built"
    ),
]

SHAPES_2D = [(1, 1), (2, 1), (33, 31), (64, 64), (511, 257), (7, 1000)]
SHAPES_3D = [(1, 1, 1), (1, 40, 40), (17, 19, 67), (64, 64, 64), (5, 257, 129)]


def on_device(mask):
    return torch.from_numpy(np.ascontiguousarray(mask)).cuda()


def shapes_for(connectivity):
    return SHAPES_2D if dims_of(connectivity) == 2 else SHAPES_3D


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.137, 0.312, 0.407, 0.593, 0.8, 1.0])
def test_labels_are_those_of_scipy(connectivity, density):
    for shape in shapes_for(connectivity):
        mask = random_mask(shape, density, 0)
        labels = device.label_components(on_device(mask), connectivity).cpu().numpy()
        np.testing.assert_array_equal(labels, first_voxel_labels(mask, connectivity))


@pytest.mark.parametrize("connectivity", [4, 8])
def test_spirals_combs_and_all_images_of_four_by_four_pixels(connectivity):
    for mask in (all_small_images(), spiral(513), ~spiral(513), comb((512, 513))):
        labels = device.label_components(on_device(mask), connectivity).cpu().numpy()
        np.testing.assert_array_equal(labels, first_voxel_labels(mask, connectivity))


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_more_than_two_to_the_24_voxels(connectivity):
    mask = random_mask((4099, 4101) if dims_of(connectivity) == 2 else (257, 256, 259), 0.3, 0)
    labels = device.label_components(on_device(mask), connectivity).cpu().numpy()
    np.testing.assert_array_equal(labels, first_voxel_labels(mask, connectivity))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("density", [0.05, 0.3, 0.6, 0.9])
def test_masks_are_cleaned_as_on_the_cpu(dims, density):
    for shape in SHAPES_2D if dims == 2 else SHAPES_3D:
        mask = random_mask(shape, density, 1)
        tensor = on_device(mask)
        for cleaned, expected in (
            (device.fill_holes(tensor, dims=dims), cpu.fill_holes(mask)),
            (device.fill_holes(tensor, dims=dims, max_area=4), cpu.fill_holes(mask, max_area=4)),
            (device.remove_islands(tensor, dims=dims, min_size=5), cpu.remove_islands(mask, min_size=5)),
            (device.largest_component(tensor, dims=dims), cpu.largest_component(mask)),
        ):
            np.testing.assert_array_equal(cleaned.cpu().numpy(), expected)


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_statistics_are_those_of_the_cpu(connectivity):
    mask = torch.from_numpy(random_mask((3, 9, 40, 41), 0.3, 0))
    here = device.tabulate_components(mask.cuda(), connectivity, max_parts=20)
    there = device.tabulate_components(mask, connectivity, max_parts=20)
    for name in ("labels", "counts", "sizes", "touches_border", "boxes"):
        assert torch.equal(getattr(here, name).cpu(), getattr(there, name)), name


def test_any_strides_give_the_same_labels():
    mask = torch.from_numpy(random_mask((12, 20, 36), 0.4, 0)).cuda()
    for view in (mask.permute(2, 1, 0), mask[:, ::2, 3:], mask[:1].expand(3, 20, 36)):
        expected = first_voxel_labels(view.cpu().numpy(), 26)
        np.testing.assert_array_equal(device.label_components(view, 26).cpu().numpy(), expected)


def test_the_same_mask_always_gets_the_same_labels():
    mask = torch.from_numpy(random_mask((64, 200, 200), 0.1, 0)).cuda()
    first = device.label_components(mask, 26)
    assert all(torch.equal(device.label_components(mask, 26), first) for _ in range(20))


def test_nothing_waits_for_the_device():
    mask = torch.rand(4, 64, 64, device="cuda") < 0.5
    torch.cuda.set_sync_debug_mode("error")
    try:
        device.fill_holes(mask, dims=2)
        device.largest_component(mask, dims=3)
        device.label_components(mask, 26)
        device.tabulate_components(mask, 8, max_parts=5)
        device.fill_holes_as_reference(mask[:, None].float())
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_reference_is_matched_as_on_the_cpu():
    logits = torch.randn(3, 1, 65, 64, generator=torch.Generator().manual_seed(0))
    here = device.fill_holes_as_reference(logits.cuda()).cpu()
    assert torch.equal(here, device.fill_holes_as_reference(logits))


def test_a_compiled_module_gives_the_same():
    def clean(logits):
        return device.fill_holes(logits > 0, dims=2, max_area=8)

    logits = torch.randn(2, 64, 64, device="cuda")
    assert torch.equal(torch.compile(clean, backend="aot_eager", fullgraph=True)(logits), clean(logits))
