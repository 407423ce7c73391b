"""The app in a browser: the controllers of NeuroSAM2Lib behind a page. Start at `app.py`."""
