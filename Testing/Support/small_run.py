"""Settings of a run of training on the bundled model whose steps take a second; for where there is no torch, too."""

SETTINGS = {"start.image_size": "64", "sampling.clips": "1", "sampling.slices": "2", "run.report_every": "1"}
AS_TEXT = "\n".join(f"{key} = {value}" for key, value in SETTINGS.items())
"""As a person writes them into the panel."""
