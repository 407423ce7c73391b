"""A picture for the browser: JPEG with full colour resolution, so that thin coloured outlines stay sharp. Voxels never go this way."""

from io import BytesIO

from PIL import Image

QUALITY = 95
FULL_COLOUR = 0


def encode(rows: bytes, size: tuple[int, int]) -> bytes:
    """The picture as a file.

    Args:
        rows: Red, green and blue of every pixel, the lowest row first.
        size: Width and height.
    """
    bottom_up = Image.frombuffer("RGB", size, rows, "raw", "RGB", 0, -1)
    file = BytesIO()
    bottom_up.save(file, "JPEG", quality=QUALITY, subsampling=FULL_COLOUR)
    return file.getvalue()
