"""How good a model is: measured through the real engine with simulated prompts, on volumes that nobody trained on."""
