"""Every CUDA kernel once, on masks small enough for compute-sanitizer. Run by `benchmarks.gpu_components`."""

import sys

import torch

from NeuroSAM2Core import device_ops


def main() -> int:
    """Runs all operators for all connectivities."""
    if not torch.cuda.is_available() or not device_ops.is_extension_active():
        print(f"sanitized: nothing to run, {device_ops.why_inactive()}")
        return 1
    for density in (0.1, 0.3, 0.6):
        mask = torch.rand(3, 9, 41, 67, generator=torch.Generator().manual_seed(0)).cuda() < density
        for connectivity in (4, 8, 6, 18, 26):
            device_ops.label_components(mask, connectivity)
            device_ops.tabulate_components(mask, connectivity, max_parts=50)
        for dims in (2, 3):
            device_ops.fill_holes(mask, dims=dims, max_area=64)
            device_ops.remove_islands(mask, dims=dims, min_size=4)
            device_ops.largest_component(mask, dims=dims)
    torch.cuda.synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
