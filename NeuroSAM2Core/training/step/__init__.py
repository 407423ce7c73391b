"""The forward pass of one training step: the plan of its prompts, the prompts, the predictions on a clip, and the losses."""
