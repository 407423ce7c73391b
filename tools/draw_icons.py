"""Draws the icons of the extension and its modules: `python tools/draw_icons.py`. Nothing in them comes from elsewhere."""

from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
SIZE, SCALE, EDGE = 128, 8, 2.5
DARK, PALE, GREEN, ORANGE, WHITE = "#1e3a5f", "#c9d6e3", "#4caf6a", "#f0961e", "#ffffff"


def main() -> None:
    """Writes all three."""
    modules = ROOT / "NeuroSAM2Slicer"
    save(brain(), ROOT / "NeuroSAM2.png")
    save(with_click(brain()), modules / "NeuroSAM2Segment" / "Resources" / "Icons" / "NeuroSAM2Segment.png")
    save(with_curve(brain()), modules / "NeuroSAM2Train" / "Resources" / "Icons" / "NeuroSAM2Train.png")


def brain() -> Image.Image:
    """An axial slice: two halves, ventricles, and an segmented object."""
    image = Image.new("RGBA", (SIZE * SCALE, SIZE * SCALE))
    pen = ImageDraw.Draw(image)
    oval(pen, 64, 64, 50, 60, fill=DARK)
    oval(pen, 64, 64, 43, 53, fill=PALE)
    line(pen, [(64, 14), (64, 114)], DARK, 3)
    for sign in (-1, 1):
        oval(pen, 64 + sign * 9, 62, 5, 17, fill=DARK)
        for row, col in ((32, 22), (50, 30), (78, 30), (96, 22)):
            line(pen, [(64 + sign * (col - 8), row - 3), (64 + sign * col, row + 3)], DARK, 2.5)
    oval(pen, 88, 50, 14, 12, fill=GREEN, edge=WHITE)
    return image


def with_click(image: Image.Image) -> Image.Image:
    """A point on the object and a box around it."""
    pen = ImageDraw.Draw(image)
    box = [scaled(68), scaled(32), scaled(108), scaled(68)]
    pen.rectangle(box, outline=ORANGE, width=round(3.5 * SCALE))
    oval(pen, 88, 50, 5, 5, fill=WHITE, edge=DARK)
    return image


def with_curve(image: Image.Image) -> Image.Image:
    """A loss that falls."""
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle(
        [scaled(60), scaled(70), scaled(124), scaled(122)], scaled(6), fill=WHITE, outline=DARK, width=scaled(EDGE)
    )
    points = [(67 + step, 78 + 34 * (1 - 0.93**step)) for step in range(51)]
    line(pen, points, ORANGE, 4)
    return image


def oval(
    pen: ImageDraw.ImageDraw, x: float, y: float, across: float, down: float, *, fill: str, edge: str = ""
) -> None:
    """An ellipse by its middle and half axes."""
    corners = [scaled(x - across), scaled(y - down), scaled(x + across), scaled(y + down)]
    pen.ellipse(corners, fill=fill, outline=edge or None, width=scaled(EDGE) if edge else 0)


def line(pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: str, width: float) -> None:
    """A line with round corners."""
    pen.line([(scaled(x), scaled(y)) for x, y in points], fill=colour, width=scaled(width), joint="curve")


def scaled(value: float) -> int:
    """Drawn large, saved small: smooth edges."""
    return round(value * SCALE)


def save(image: Image.Image, path: Path) -> None:
    """As PNG of the final size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(path, optimize=True)


if __name__ == "__main__":
    main()
