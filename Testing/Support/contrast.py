"""The contrast of two colours, as WCAG 2.2 defines it."""

import numpy as np


def contrast(one: str, other: str) -> float:
    """From 1 to 21; text needs 4.5, lines and symbols 3 (level AA). Colours as #rrggbb."""
    dark, light = sorted(map(_relative_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _relative_luminance(colour: str) -> float:
    channels = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
