"""Fine-tuning in the background: cases, a run in a process of its own, comparison. Start at `controller.py`."""
