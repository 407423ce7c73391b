"""Parts of the panels: groups of widgets with the settings that they show."""
