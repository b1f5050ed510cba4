"""The protocol between the server and a host's agent: what crosses (`messages`), and how (`channel`)."""
