"""Training: the clip as a batch, the step with simulated prompts, the losses, the schedule, the run folder."""
