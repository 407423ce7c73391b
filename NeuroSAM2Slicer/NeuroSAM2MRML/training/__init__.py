"""Fine-tuning beside the work: cases, a run in a process of its own, proof. Start at `controller.py`."""
