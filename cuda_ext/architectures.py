"""Which GPU architectures a build is for, when nobody says."""

KNOWN = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
"""Compute capabilities: Turing, Ampere (two), Ada, Hopper, Blackwell (two)."""
NEEDS = {"8.9": (11, 8), "9.0": (11, 8), "10.0": (12, 8), "12.0": (12, 8)}
"""The first toolkit that knows an architecture, where that matters."""


def arch_list(toolkit: str) -> str:
    """All architectures that a toolkit knows, with PTX for those still to come, as TORCH_CUDA_ARCH_LIST has it.

    Args:
        toolkit: `major.minor`.
    """
    version = tuple(int(part) for part in toolkit.split("."))
    known = [arch for arch in KNOWN if version >= NEEDS.get(arch, (0, 0))]
    return ";".join(known) + "+PTX"


def nvcc_flags(arch_list: str) -> list[str]:
    """The same list as options of nvcc."""
    flags = []
    for arch in arch_list.split(";"):
        number = arch.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if arch.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags
