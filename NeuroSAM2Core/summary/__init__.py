"""Pictures and a page of a finished segmentation, for a paper: a contact sheet, and a report of one page. No PyTorch."""

from NeuroSAM2Core.summary.contact_sheet import NUM_SLICES, ContactSheet, ShownObject, drawing_sheet
from NeuroSAM2Core.summary.page import MAX_ROWS, SummaryPage, page_html

__all__ = ["MAX_ROWS", "NUM_SLICES", "ContactSheet", "ShownObject", "SummaryPage", "drawing_sheet", "page_html"]
