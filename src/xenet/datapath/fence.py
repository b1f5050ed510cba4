"""The fence of a balance-slb bond: what its own frames, sent out of one slave, must not do when a switch brings them to another.

All slaves of such a bond are ports of their own to the switches outside. So what is flooded comes to each of them: of what comes in only one
slave, the ear, takes broadcast and multicast. And what this host floods comes back on the others: whose frames go out by the bond is noted by
MAC and VLAN, and for a moment nothing is taken that claims to come from there. The note is short, so that a VM that has left is heard from
its new place; for one whose port goes away here it is struck out at once.
What is addressed to a bridge itself (LLDP, LACP: 01:80:c2:00:00:0X) is taken from every slave.

One nftables table of the netdev family a bond, written by nft as one transaction, and read by netlink. Which slave is the ear is said by the
chain that the others have in common, so that another one can be chosen without forgetting the notes.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from xenet.datapath.links import create_bridge
from xenet.datapath.namespaces import in_scratch
from xenet.datapath.netlink import Socket
from xenet.datapath.nft import load
from xenet.datapath.nftables import FENCE, NETDEV, NETLINK_NETFILTER, Layout, dump_layout

NOTED = 2
"""Seconds after a frame of a source went out in which nothing is taken from that source: more than a full queue and a slow switch hold one."""
WHO = "a bond with the mode balance-slb"


def table_of(bond: str) -> str:
    return f"{FENCE}{bond}"


def rules(bond: str, slaves: Sequence[str], ear: str) -> str:
    """The whole fence, in place of the one that is there."""
    table = f"netdev {table_of(bond)}"
    return f"""{remove(bond)}
table {table} {{
    set sent {{ type ether_addr; flags dynamic,timeout; timeout {NOTED}s; size 65535; }}
    set sent_tagged {{ typeof vlan id . ether saddr; flags dynamic,timeout; timeout {NOTED}s; size 65535; }}
    chain out {{
        type filter hook egress device "{bond}" priority filter; policy accept;
        ether type vlan update @sent_tagged {{ vlan id . ether saddr }} accept
        ether type != vlan update @sent {{ ether saddr }}
    }}
    chain in {{
        type filter hook ingress device "{bond}" priority filter; policy accept;
        ether type vlan vlan id . ether saddr @sent_tagged drop
        ether type != vlan ether saddr @sent drop
    }}
}}
{_deaf(bond, slaves, ear)}"""


def _deaf(bond: str, slaves: Iterable[str], ear: str) -> str:
    """The chain of the slaves that take nothing which is for many; none where there is only one slave."""
    others = ", ".join(f'"{slave}"' for slave in slaves if slave != ear)
    if not others:
        return ""
    return f"""
table netdev {table_of(bond)} {{
    chain deaf {{
        type filter hook ingress devices = {{ {others} }} priority filter; policy accept;
        ether daddr 01:80:c2:00:00:00-01:80:c2:00:00:0f accept
        ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop
    }}
}}
"""


def listen(bond: str, slaves: Sequence[str], ear: str) -> str:
    """Another ear, at one moment; the notes stay."""
    chain = f"netdev {table_of(bond)} deaf"
    return f"flush chain {chain}\ndelete chain {chain}\n{_deaf(bond, slaves, ear)}"


def forget(bond: str, macs: Iterable[str], tags: Iterable[int]) -> str:
    """Strike out these sources: their next frames may come from outside. Whether they are noted or not: what is added can be deleted."""
    tags, lines = list(tags), []
    for mac in macs:
        notes = [f"sent {{ {mac} }}", *(f"sent_tagged {{ {tag} . {mac} }}" for tag in tags)]
        lines += [f"{verb} element netdev {table_of(bond)} {note}" for note in notes for verb in ("add", "delete")]
    return "\n".join(lines)


def remove(bond: str) -> str:
    """Whether it is there or not."""
    return f"add table netdev {table_of(bond)}\ndelete table netdev {table_of(bond)}\n"


@cache
def layouts(bond: str, slaves: tuple[str, ...]) -> Mapping[Layout, str]:
    """The layouts that a fence of these can have as this nft puts it into this kernel, each with its ear. Raises Refused, OSError."""

    def look() -> dict[Layout, str]:
        with Socket() as route, Socket(protocol=NETLINK_NETFILTER) as socket:
            route.do([create_bridge(name, "", 0, 0) for name in (bond, *slaves)])
            found = {}
            for ear in slaves:
                load(rules(bond, slaves, ear), WHO)
                found[dump_layout(socket, NETDEV, table_of(bond))] = ear
            return found

    return in_scratch(look)
