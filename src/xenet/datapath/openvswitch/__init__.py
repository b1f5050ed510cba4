"""The datapath on Open vSwitch. Pure: `specs` (what its database must say of our switches, and which switches a database describes), `apply`
(steps on switches). Acting: `programs` and `daemons` (an Open vSwitch of a host's own), `database` (its client), `control` (questions to
ovs-vswitchd), `read` and `write` (rows from and to specs), `board` (what is observed), `ports`, `uplinks`, `locks`, and `backend`, which brings
it all below the agent's steps.
"""
