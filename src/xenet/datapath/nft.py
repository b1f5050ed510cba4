"""The table that holds locked VIFs to their addresses, and `nft`, which puts it and its elements into the kernel.

A frame is looked at where it enters the bridge, before the bridge learns its source; and once more on its way to the host, the only way of
a frame to 01:80:c2:00:00:0X. Accepted is what is listed here, all else dropped: other ethertypes, VLAN tags, what is too short to be read.
"""

import subprocess
from functools import cache

from xenet.datapath.batch import Refused
from xenet.datapath.namespaces import in_scratch
from xenet.datapath.netlink import Socket
from xenet.datapath.nftables import NETLINK_NETFILTER, Layout, dump_layout
from xenet.plan.lock import TABLE

RULES = f"""
table {TABLE} {{
    set locked {{ type ifname; }}
    set macs {{ type ifname . ether_addr; }}
    set ipv4 {{ type ifname . ipv4_addr; flags interval; }}
    set ipv6 {{ type ifname . ipv6_addr; flags interval; }}
    set targets {{ typeof iifname . @th,64,128; flags interval; }}

    chain prerouting {{
        type filter hook prerouting priority filter; policy accept;
        iifname @locked goto guard
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname @locked goto guard
    }}
    chain guard {{
        iifname . ether saddr @macs goto from_own_mac
        drop
    }}
    # A tagged frame's ethertype is that of its tag.
    chain from_own_mac {{
        ether type arp goto from_arp
        ether type ip goto from_ipv4
        ether type ip6 goto from_ipv6
        drop
    }}
    chain from_arp {{
        arp htype 1 arp ptype ip arp hlen 6 arp plen 4 iifname . arp saddr ether @macs goto arp_sender
        drop
    }}
    # A question without a sender's address is that of RFC 5227: is this address free?
    chain arp_sender {{
        iifname . arp saddr ip @ipv4 accept
        arp operation request arp saddr ip 0.0.0.0 accept
        drop
    }}
    chain from_ipv4 {{
        ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
        iifname . ip saddr @ipv4 goto ipv4_own
        drop
    }}
    # Later fragments have no ports; the first one has them, and without it they are nothing.
    chain ipv4_own {{
        meta l4proto != udp accept
        meta l4proto udp ip frag-off & 0x1fff != 0 accept
        udp dport 68 drop
        udp sport != 67 accept
        drop
    }}
    chain from_ipv6 {{
        iifname . ip6 saddr @ipv6 goto ipv6_own
        ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . @th,64,128 @targets accept
        drop
    }}
    chain ipv6_own {{
        meta l4proto ipv6-icmp goto from_icmpv6
        meta l4proto != udp accept
        meta l4proto udp frag frag-off != 0 accept
        udp dport 546 drop
        udp sport != 547 accept
        drop
    }}
    chain from_icmpv6 {{
        frag frag-off != 0 accept
        icmpv6 type nd-neighbor-advert goto neighbour_advert
        icmpv6 type nd-router-advert drop
        icmpv6 type nd-redirect drop
        icmpv6 type 0-255 accept
        drop
    }}
    chain neighbour_advert {{
        iifname . @th,64,128 @targets accept
        drop
    }}
}}
"""
REMOVE = f"add table {TABLE}\ndelete table {TABLE}\n"
"""Whether it is there or not."""


def load(script: str, who: str = "a locked VIF", family: str = "bridge") -> None:
    """Carry out commands of nft in the calling thread's network namespace: all, at one moment, or none. Raises Refused, which says who needs
    it."""
    try:
        done = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Refused(f"{who} needs the program nft (Debian: apt-get install nftables)") from None
    if done.returncode:
        said = done.stderr.strip().partition("\n")[0]
        needed = f"nftables with the {family} family (module nf_tables, CONFIG_NF_TABLES_{family.upper()})"
        raise Refused(f"{who} needs {needed}; nft says: {said}")


@cache
def pristine() -> Layout:
    """The layout that the rules have when this nft puts them into this kernel: found out in a network namespace of their own, once.
    Raises Refused, OSError."""

    def look() -> Layout:
        load(RULES)
        with Socket(protocol=NETLINK_NETFILTER) as socket:
            return dump_layout(socket)

    return in_scratch(look)
