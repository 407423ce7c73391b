"""Connected components, holes and islands."""

from NeuroSAM2Core.ops.components import bounding_box, fill_holes, largest_component, remove_islands

__all__ = ["bounding_box", "fill_holes", "largest_component", "remove_islands"]
