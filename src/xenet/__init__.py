"""XenServer's network model for any Linux host, or for a pool of hosts.

Networks, NICs (PIFs), virtual NICs (VIFs), bonds, VLANs and tunnels are objects of the XenAPI. Clients change the objects;
xenet compares what the objects ask for with what each host's data plane is, and makes the second equal to the first. Each
subpackage is one room with one duty, and imports between rooms run one way only: see CONTRIBUTING.md for the map.
"""

__version__ = "0.1.0"
