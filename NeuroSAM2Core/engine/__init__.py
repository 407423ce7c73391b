"""Volume, prompts and model become masks."""
