"""Figures: how fast, against what bound, on this machine. `python -m bench` runs them all; nothing here is part of xenet."""
