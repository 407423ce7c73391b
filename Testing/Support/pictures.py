"""Pictures for the documentation, small enough to be kept with the source."""

import numpy as np
from PIL import Image

MAX_BYTES = 150_000
COLOURS = (64, 192), (48, 144), (32, 96), (24, 72), (16, 48)
"""Numbers of greys and of other colours to try; what has many shades does not pack well."""
GREY = 6
"""Of 255: how far the channels of a pixel that counts as grey may lie apart."""
MAX_PX, QUALITY = 1920, 70
"""Of WebP: the longer side, and how true to the original it is."""


def save_picture(picture, path):
    """Writes a PNG with as many colours as fit into MAX_BYTES, or a WebP, by the ending of its name."""
    picture = picture.convert("RGB")
    if path.suffix == ".webp":
        picture.thumbnail((MAX_PX, MAX_PX))
        picture.save(path, quality=QUALITY, method=6)
        return
    for num_greys, num_others in COLOURS:
        palette = _palette(np.asarray(picture), num_greys, num_others)
        picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MAX_BYTES:
            return


def _palette(pixels, num_greys, num_others):
    """Evenly spaced greys, and the colours that stand for all other pixels."""
    others = pixels[np.ptp(pixels.astype(int), axis=2) > GREY]
    packed = Image.fromarray(others[None]).quantize(num_others, Image.Quantize.MAXCOVERAGE)
    greys = np.linspace(0, 255, num_greys).round().repeat(3).astype(int).tolist()
    palette = Image.new("P", (1, 1))
    palette.putpalette([*greys, *packed.getpalette()[: 3 * num_others]])
    return palette
