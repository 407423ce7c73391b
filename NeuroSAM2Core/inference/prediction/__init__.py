"""The prediction on one slice: from its prompts or a memory to a mask."""
