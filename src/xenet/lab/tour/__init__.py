"""The tour of `make demo`: what xenet does, shown on real packets, each step with a tick or a cross.

`stage` is what a step works with, `networks`, `vlans`, `bonds`, `nics`, `limits` and `migration` hold the steps; `python -m xenet.lab.tour`
runs them all.
"""
