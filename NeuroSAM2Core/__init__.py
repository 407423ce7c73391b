"""NeuroSAM2Core: prompts on slices of a brain volume in, masks of whole objects out."""
