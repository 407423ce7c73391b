"""The training loop and what it keeps: weights and optimizer, schedule, processes, run folder, metrics, requests to stop."""
