"""The objects a person outlines: what was said about each (pure), and the Markups and segments that carry it in the scene."""
