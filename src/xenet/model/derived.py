"""PIFs built on PIFs: Bond, VLAN, tunnel, network_sriov. Each joins the PIF above with the PIFs below."""

from typing import Annotated, ClassVar, Literal

import msgspec

from xenet.model.types import EMPTY, NULL, RO, RW, BackRef, EnumName, Hidden, Init, PIFRef, Record, StrMap

BondMode = Annotated[Literal["balance-slb", "active-backup", "lacp"], EnumName("bond_mode")]
TunnelProtocol = Annotated[Literal["gre", "vxlan"], EnumName("tunnel_protocol")]
SriovMode = Annotated[Literal["sysfs", "modprobe", "manual", "unknown"], EnumName("sriov_configuration_mode")]


class Bond(Record, frozen=True, kw_only=True):
    """Slave PIFs under one master PIF."""

    xenapi = "Bond"

    master: Init[PIFRef] = NULL
    slaves: ClassVar[BackRef] = BackRef("PIF", "bond_slave_of")
    other_config: RW[StrMap] = EMPTY
    primary_slave: RO[PIFRef] = NULL
    mode: RO[BondMode] = "balance-slb"
    properties: RO[StrMap] = EMPTY
    links_up: RO[int] = 0
    auto_update_mac: RO[bool] = True


class VLAN(Record, frozen=True, kw_only=True):
    """The lower PIF, whose wire carries the tag (tagged_PIF), and the upper one, without it (untagged_PIF)."""

    xenapi = "VLAN"

    tagged_PIF: Init[PIFRef] = NULL
    untagged_PIF: RO[PIFRef] = NULL
    tag: Init[int] = -1
    other_config: RW[StrMap] = EMPTY


class Tunnel(Record, frozen=True, kw_only=True):
    """A network over a network: access_PIF above, transport_PIF below."""

    xenapi = "tunnel"

    access_PIF: Init[PIFRef] = NULL
    transport_PIF: Init[PIFRef] = NULL
    status: RW[StrMap] = msgspec.field(default_factory=lambda: {"active": "false"})
    other_config: RW[StrMap] = EMPTY
    protocol: RW[TunnelProtocol] = "gre"

    key: Hidden[int] = 0
    """What tells this network's frames from others' between two hosts (RFC 7348: VNI; RFC 2890: key); the same for all tunnels of a network."""


class NetworkSriov(Record, frozen=True, kw_only=True):
    """Virtual functions of a NIC as a network of their own."""

    xenapi = "network_sriov"

    physical_PIF: Init[PIFRef] = NULL
    logical_PIF: Init[PIFRef] = NULL
    requires_reboot: RO[bool] = False
    configuration_mode: RO[SriovMode] = "unknown"
