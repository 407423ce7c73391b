"""MRML nodes as arrays, grids and slices, and masks back into segments. Knows nothing of objects, prompts or engines."""
