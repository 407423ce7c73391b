"""Propagation of one object from slice to slice: its masks, its memory bank, the passes, and where it ends."""
