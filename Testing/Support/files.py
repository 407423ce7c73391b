"""Model files of exactly the published containers, keys, shapes and types, from random weights."""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

KEYS = Path(__file__).parents[1] / "Data" / "sam2_keys"


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    rows = [line.split("\t") for line in (KEYS / f"{name}.txt").read_text(encoding="utf-8").splitlines() if line]
    return {row[0]: tuple(int(n) for n in row[1].strip("()").split(",") if n.strip()) for row in rows}


def published_state(name: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = published_shapes(name)
    return {key: (0.02 * torch.randn(shape, generator=generator)).to(dtype) for key, shape in shapes.items()}


def save_foreign(content: object, path: Path) -> None:
    """A file as PyTorch writes it, whatever characters its name has."""
    with path.open("wb") as file:
        torch.save(content, file)


def lora_adapters(state: dict[str, Tensor], *, rank: int = 32) -> dict[str, Tensor]:
    """The 72 tensors that NeuroSAM2D adds: q, v and proj of every block of the tiny trunk."""
    generator = torch.Generator().manual_seed(1)
    adapters = {}
    for key, weight in state.items():
        if key.endswith("attn.qkv.weight"):
            base, (out, width) = key.removesuffix("qkv.weight"), (weight.shape[0] // 3, weight.shape[1])
            for what in ("q", "v", "proj"):
                adapters[f"{base}lora_A_{what}"] = (
                    torch.randn(width if what != "proj" else out, rank, generator=generator) * 0.02
                )
                adapters[f"{base}lora_B_{what}"] = torch.randn(rank, out, generator=generator) * 0.02
    return adapters


def load_by_path(path):
    """A module that is not in a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
