"""Cleaning masks that are tensors, on the CPU: the same results as for NumPy masks, in batches, and as operators that compilers can see."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from NeuroSAM2Core.components import cpu, device
from NeuroSAM2Core.errors import ConfigError, DataError
from Testing.Support.masks import CONNECTIVITIES, first_voxel_labels, random_mask

SHAPES = st.sampled_from([(17, 23), (9, 11, 13), (1, 1), (1, 5, 6)])


@settings(deadline=None)
@given(SHAPES, st.floats(0, 1), st.integers(0, 10**6), st.integers(0, 9))
def test_tensors_are_cleaned_as_numpy_masks_are(shape, density, seed, size):
    mask = random_mask(shape, density, seed)
    tensor, dims = torch.from_numpy(mask), len(shape)
    for cleaned, expected in (
        (device.fill_holes(tensor, dims=dims), cpu.fill_holes(mask)),
        (device.fill_holes(tensor, dims=dims, max_area=size), cpu.fill_holes(mask, max_area=size)),
        (device.remove_islands(tensor, dims=dims, min_size=size), cpu.remove_islands(mask, min_size=size)),
        (device.largest_component(tensor, dims=dims), cpu.largest_component(mask)),
    ):
        np.testing.assert_array_equal(cleaned.numpy(), expected)


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_batches_are_labelled_image_by_image(connectivity):
    mask = random_mask((2, 3, 4, 9, 11), 0.4, connectivity)
    labels = device.label_components(torch.from_numpy(mask), connectivity)
    assert labels.dtype is torch.int32
    np.testing.assert_array_equal(labels.numpy(), first_voxel_labels(mask, connectivity))


@pytest.mark.parametrize("connectivity", CONNECTIVITIES)
def test_statistics_say_what_counting_says(connectivity):
    dims = cpu.dims_of(connectivity)
    mask = random_mask((2, 3, 6, 7)[: dims + 1], 0.35, connectivity)
    parts = device.tabulate_components(torch.from_numpy(mask), connectivity, max_parts=3)
    for n, image in enumerate(parts.labels.numpy()):
        assert parts.counts[n] == image.max()
        for row in range(3):
            places = np.argwhere(image == row + 1)
            assert parts.sizes[n, row] == len(places)
            if not len(places):
                continue
            low, high = places.min(axis=0), places.max(axis=0) + 1
            np.testing.assert_array_equal(parts.boxes[n, row].numpy(), np.stack([low, high], axis=1))
            assert bool(parts.touches_border[n, row]) == bool((low == 0).any() or (high == image.shape).any())


def test_a_mask_without_parts_has_an_empty_table():
    parts = device.tabulate_components(torch.zeros(4, 5, dtype=torch.bool), 8, max_parts=2)
    assert parts.counts == 0
    assert not parts.sizes.any()


def test_the_reference_fills_specks_of_background_wherever_they_lie():
    logits = torch.full((1, 1, 12, 12), 3.0)
    logits[0, 0, 0, 0] = logits[0, 0, 5, 5] = logits[0, 0, 6, 6] = -2.0  # a corner; two that touch at a corner
    logits[0, 0, 8:11, 1:4] = -1.0  # nine pixels
    filled = device.fill_holes_as_reference(logits)
    assert (filled[0, 0, [0, 5, 6], [0, 5, 6]] == 0.1).all()
    assert (filled[0, 0, 8:11, 1:4] == -1).all()
    assert (filled == logits).sum() == 144 - 3
    assert (device.fill_holes_as_reference(logits, max_area=1)[0, 0, 5, 5]) == -2


def test_objects_are_cleaned_one_by_one_and_take_nothing_from_each_other():
    labels = np.zeros((9, 20), np.int32)
    labels[1:8, 1:8] = 3
    labels[3:6, 3:6] = 0
    labels[4, 4] = 5  # an object in a hole of another
    labels[2, 12:15] = labels[6, 12] = 5
    expected = labels.copy()
    expected[3:6, 3:6] = 3
    expected[4, 4] = 5
    filled = cpu.for_each_object(labels, cpu.fill_holes)
    np.testing.assert_array_equal(filled, expected)
    largest = cpu.for_each_object(labels, cpu.largest_component)
    np.testing.assert_array_equal(largest == 5, np.isin(np.arange(180).reshape(9, 20), [52, 53, 54]))
    for act, done in ((device.fill_holes, filled), (device.largest_component, largest)):
        tensor = device.for_each_object(torch.from_numpy(labels), lambda m, a=act: a(m, dims=2), ids=[3, 5])
        np.testing.assert_array_equal(tensor.numpy(), done)


@pytest.mark.parametrize(
    ("name", "args"),
    [("label", (8,)), ("keep_parts", (8, 2, 9, True, True)), ("fill", (4, 9, True)), ("tabulate", (8, 4))],
)
def test_operators_keep_their_word_to_compilers(name, args):
    mask = torch.from_numpy(random_mask((2, 8, 9), 0.5, 0))
    torch.library.opcheck(getattr(torch.ops.neurosam2, name).default, (mask, *args))


def test_a_module_that_fills_holes_can_be_exported():
    class Filling(torch.nn.Module):
        def forward(self, logits):
            return device.fill_holes(logits > 0, dims=2, max_area=8)

    logits = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
    exported = torch.export.export(Filling(), (logits,))
    assert "neurosam2.fill" in str(exported.graph)
    assert (exported.module()(logits) == Filling()(logits)).all()


def test_a_compiled_function_has_no_break_at_an_operator():
    def clean(logits):
        return device.largest_component(device.fill_holes(logits > 0, dims=2), dims=2)

    logits = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.compile(clean, backend="aot_eager", fullgraph=True)(logits), clean(logits))


def test_a_fake_kernel_chooses_wide_labels_for_large_masks():
    mask = torch.empty(2, 1024, 1024, 1024, dtype=torch.bool, device="meta")
    assert torch.ops.neurosam2.label(mask, 26).dtype is torch.int64
    assert torch.ops.neurosam2.label(mask[:1], 26).dtype is torch.int32


def test_mistakes_are_notified():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    with pytest.raises(DataError, match=r"bool tensor; got torch.float32 \(compare"):
        device.fill_holes(mask.float(), dims=2)
    with pytest.raises(DataError, match="3-D mask needs 3 dimensions"):
        device.largest_component(mask, dims=3)
    with pytest.raises(ConfigError, match="connectivity must be 4 or 8"):
        device.label_components(mask, 5)
    with pytest.raises(ConfigError, match="max_parts"):
        device.tabulate_components(mask, 8, max_parts=-1)
    with pytest.raises(DataError, match="no voxels"):
        device.tabulate_components(mask[:0], 8, max_parts=1)


def test_the_missing_extension_is_notified_once_where_there_is_a_gpu(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device, "MODULE", "neurosam2_cuda_that_is_not_there")
    device.why_inactive.cache_clear()
    try:
        with caplog.at_level(logging.INFO):
            assert not device.is_extension_active()
            assert not device.is_extension_active()
    finally:
        device.why_inactive.cache_clear()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "masks are cleaned on the CPU" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_gpu_nothing_is_looked_for(caplog):
    with caplog.at_level(logging.INFO):
        assert device.why_inactive() == "PyTorch has no CUDA device here"
    assert not caplog.records


def test_a_table_row_has_the_columns_of_the_kernels():
    source = (device.IN_PLACE / "csrc" / "table.h").read_text(encoding="utf-8")
    names = source.split("enum Column {")[1].split("}")[0].split(",")
    assert [name.strip() for name in names].index("kColumns") == device.COLUMNS
