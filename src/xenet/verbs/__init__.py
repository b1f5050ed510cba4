"""PURE. One file a class: what may be done, when it is refused, and the Change that it makes.

A verb takes a Call (the state it is decided on, the time, entropy) and typed arguments. It raises a
Failure, returns a value, or returns an Outcome: a Change, and where hosts must act, the Operation that
waits for them. `registry.MESSAGES` holds them all, with the generic ones made from the declarations.
"""
