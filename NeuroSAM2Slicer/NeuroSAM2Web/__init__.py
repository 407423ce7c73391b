"""The app in a browser: the controllers of NeuroSAM2MRML behind a page. Start at `app.py`."""
