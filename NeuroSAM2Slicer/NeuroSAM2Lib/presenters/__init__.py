"""Presenters: what the panels show and call, for any toolkit. Start at `segment_presenter.py`."""
