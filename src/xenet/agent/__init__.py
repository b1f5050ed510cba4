"""The one process a host that keeps its networking equal to the pool: level-triggered, idempotent, in the host's namespace.

`keeper` compares and acts, `loop` listens to the server and the kernel, `guard` doubts a new way to the host,
`takeover` borrows a NIC in use, `main` starts it all.
"""
