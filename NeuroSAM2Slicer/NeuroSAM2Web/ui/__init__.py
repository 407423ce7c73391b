"""The page: its panels, dialogs and widgets, each bound to a presenter."""
