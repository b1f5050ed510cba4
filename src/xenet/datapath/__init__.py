"""The host's switches: `observe` what is there, `do` steps, hear of changes. bridge: the Linux bridge; fake: a model of it for tests."""
