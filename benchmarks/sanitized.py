"""Every CUDA kernel once, on masks small enough for compute-sanitizer. Run by `benchmarks.gpu_components`."""

import sys

import torch

from NeuroSAM2Core.components import device


def main() -> int:
    """Runs all operators for all connectivities."""
    if not torch.cuda.is_available() or not device.is_extension_active():
        print(f"sanitized: nothing to run, {device.why_inactive()}")
        return 1
    for density in (0.1, 0.3, 0.6):
        mask = torch.rand(3, 9, 41, 67, generator=torch.Generator().manual_seed(0)).cuda() < density
        for connectivity in (4, 8, 6, 18, 26):
            device.label_components(mask, connectivity)
            device.tabulate_components(mask, connectivity, max_parts=50)
        for dims in (2, 3):
            device.fill_holes(mask, dims=dims, max_area=64)
            device.remove_islands(mask, dims=dims, min_size=4)
            device.largest_component(mask, dims=dims)
    torch.cuda.synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
