"""A data centre in network namespaces: hosts with NICs, cables, physical switches, outside machines, guests.

`topology` says what there is (values, a file's form), `run` where a lab keeps its things, `build` makes namespaces and
cables, `mixed` has frames finished where both data planes meet, `process` keeps the server and the agents, `pool` gives the
server its VMs, `up` puts these together and takes
them away again, `operate` works with a lab that runs, `picture` and `graph` draw it, `tour` is the demonstration.
"""
