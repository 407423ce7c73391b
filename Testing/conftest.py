"""Tensor shapes in annotations are checked while testing, in the modules whose functions take and give bare tensors."""

from jaxtyping import install_import_hook

CHECKED = ("hiera", "image_input", "layers", "memory_attention", "memory_encoder", "position", "two_way")

install_import_hook([f"NeuroSAM2Core.model.{name}" for name in CHECKED], "beartype.beartype")
