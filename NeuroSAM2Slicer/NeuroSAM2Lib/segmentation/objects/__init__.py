"""The objects of a segmentation: their prompts and records as values, and the nodes and segments that hold them in the scene."""
