"""PURE. What a host must look like (`view`, `compile`), and the way there from what it looks like (`diff`, `steps`)."""
