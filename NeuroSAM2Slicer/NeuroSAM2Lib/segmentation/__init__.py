"""Segmentation of objects in the scene: prompts, masks, undo, journal, and synchronisation with the engine. Start at `controller.py`."""
