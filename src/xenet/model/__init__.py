"""PURE. The XenAPI classes, each declared once, and the pool's state that their records make up.

Read in this order: `types` (the words of a declaration), `network` / `pif` / `vif` / `vm` / `host` /
`pool` / `derived` / `task` (the classes), `hidden` (what xenet keeps beside them), `classes` (the
register of all), `declare` (what a declaration says, as data), `state` (PoolState), `change` (how one
state becomes the next), `errors` (refusals).
"""
