"""What a panel shows and calls: the chosen nodes, session, model and mouse tools. Start at `workplace.py`."""
