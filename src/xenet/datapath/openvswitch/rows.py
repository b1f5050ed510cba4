"""Rows of Open vSwitch's database as values, as far as they are ours. Source: ovs-vswitchd.conf.db(5)."""

from collections.abc import Mapping

import msgspec

NETWORK, UPLINK, VIF, BOND, LOCK, MIRROR = "xenet-network", "xenet-uplink", "xenet-vif", "xenet-bond", "xenet-lock", "xenet-mirror"
TRUNKS = "xenet-trunks"
"""Our keys: of a bridge or fake bridge, the network's uuid; of what leads out, the device's name; of a port, the VIF's uuid; what a bond was
asked for, what a port is locked to; of a mirror, the switch that it belongs to; which VLANs were asked for of a port."""
TUNNEL, HUB = "xenet-tunnel", "xenet-hub"
"""Our keys of a bridge: the tunnel that was asked for, without its peers; of one that only serves another one's tunnel, the other's name."""


class Interface(msgspec.Struct, frozen=True):
    """A row of the table Interface. 0 and "" leave a column empty."""

    name: str
    type: str = ""
    mtu: int = 0
    mac: str = ""
    external: Mapping[str, str] = {}
    other: Mapping[str, str] = {}
    options: Mapping[str, str] = {}
    """Of a tunnel."""


class Port(msgspec.Struct, frozen=True):
    """A row of the table Port, with its interfaces: several make a bond."""

    name: str
    interfaces: tuple[Interface, ...]
    tag: int = -1
    fake: bool = False
    trunks: tuple[int, ...] = ()
    """The VLANs that pass, 0 for frames without a tag; none named: all."""
    external: Mapping[str, str] = {}
    other: Mapping[str, str] = {}
    bond_mode: str = ""
    lacp: str = ""
    updelay: int = 0
    downdelay: int = 0
    protected: bool = False
    """Nothing goes from one such port to another."""
    mode: str = ""
    """`vlan_mode`. Empty: access with a tag, else trunk."""


class Mirror(msgspec.Struct, frozen=True):
    """A row of the table Mirror: copies of what the ports named send and get, to the port `output`, which is for that alone then."""

    output: str = ""
    everything: bool = False
    sent: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    vlans: tuple[int, ...] = ()
    """Of these alone, 0 for frames without a tag; none named: of all."""
    elsewhere: bool = False
    """Observed: the copies go to a VLAN as well."""
    external: Mapping[str, str] = {}


class Bridge(msgspec.Struct, frozen=True):
    """A row of the table Bridge, with its ports by name."""

    name: str
    ports: Mapping[str, Port] = {}
    external: Mapping[str, str] = {}
    other: Mapping[str, str] = {}
    datapath: str = ""
    fail_mode: str = ""
    snooping: bool = False
    mirrors: Mapping[str, Mirror] = {}
    """Those that carry our mark, by name."""
    foreign: bool = False
    """An administrator's: of all this nothing is ours but the ports of VIFs."""
