"""What the Help sections say: in the panels, and with a picture under the modules' Help & Acknowledgement."""

from pathlib import Path

from NeuroSAM2Lib.i18n import tr as _

DOCS = "https://github.com/neurosam2/SlicerNeuroSAM2/blob/main/docs"
TUTORIAL = f"{DOCS}/tutorial.md"
PICTURE_PX = 280
"""The module panel is hardly wider, and its help does not scroll sideways."""


def segment_help() -> str:
    """Of the segmentation panel, as HTML."""
    return _(
        "<p><b>In short.</b> Choose a volume and a segmentation. Press <b>X</b> and drag a box around something in a slice view. "
        "Press <b>A</b>: the outline goes through the other slices. Where it is wrong, press <b>P</b> or <b>N</b> and click; only "
        "what depends on that slice is done again. <b>Esc</b> puts down whatever tool is in hand. Save the scene: clicks and "
        "outlines come back with it.</p>"
        "<p><b>A single click</b> can mean the part or the whole: press <b>E</b> for the next outline that it can mean. Where an "
        "outline ends too early, press <b>One more slice</b>; the quality strip says why it ended.</p>"
        "<p><b>Something to try.</b> Sample Data: <i>MRHead</i> (outline a ventricle) and <i>MRBrainTumor1</i> (outline the "
        "tumour).</p>"
        "<p><b>On a slow computer</b> choose the model <i>nano</i>, or let a server run the engine: see Engine.</p>"
    ) + _link(TUTORIAL, _("Tutorial, with pictures"))


def train_help() -> str:
    """Of the training panel, as HTML."""
    return _(
        "<p><b>In short.</b> Outline a few volumes in NeuroSAM2 Segment and add each with <b>Add current case</b>; hold three "
        "out to compare models on. Press <b>Start</b>. You can go on segmenting, or close Slicer: training goes on, and waits "
        "while you click. At its end press <b>Compare</b>: it says, on cases that were not trained on, whether the new model "
        "is better. <b>Use new model</b> if you like what you see; <b>Back</b> returns to the one before.</p>"
        "<p><b>How many cases?</b> The verdict tells. Begin with three to train on and three held out, and add more while it gets "
        "better.</p>"
    ) + _link(TUTORIAL, _("Tutorial, with pictures"))


def module_help(text: str, picture: str) -> str:
    """A module's help: a picture first. Slicer's help shows files, and loads nothing from the network.

    Args:
        text: HTML.
        picture: Path of the file.
    """
    shown = f'<p><img src="{Path(picture).as_uri()}" width="{PICTURE_PX}"></p>'
    more = _link(f"{DOCS}/training.md", _("More on training")) + _link(f"{DOCS}/app.md", _("The same in a browser"))
    return shown + text + more


def _link(address: str, text: str) -> str:
    return f'<p><a href="{address}">{text}</a></p>'
