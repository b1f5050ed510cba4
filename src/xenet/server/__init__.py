"""The pool's one server process: sessions, tasks, events, the store's owner, and the hub of the hosts' agents.

A request's way: `http` decodes, `dispatch` finds the message and checks the session, `core` lets the verb decide, commits,
and waits for the hosts (`hosts`) where the verb says so; `events` tells everybody.
"""
