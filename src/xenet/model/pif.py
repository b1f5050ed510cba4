"""PIF: a host's attachment to a network; PIF_metrics: what the NIC says of itself."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from xenet.model.types import (
    EMPTY,
    NULL,
    RO,
    RW,
    BackRef,
    BondRef,
    EnumName,
    Hidden,
    HostRef,
    Init,
    NetworkRef,
    PCIRef,
    PIFMetricsRef,
    PrimaryAddressType,
    Record,
    StrMap,
    StrSet,
    VLANRef,
)

IPMode = Annotated[Literal["None", "DHCP", "Static"], EnumName("ip_configuration_mode")]
IPv6Mode = Annotated[Literal["None", "DHCP", "Static", "Autoconf"], EnumName("ipv6_configuration_mode")]
IGMPStatus = Annotated[Literal["enabled", "disabled", "unknown"], EnumName("pif_igmp_status")]


class PIF(Record, frozen=True, kw_only=True):
    """A NIC (or what is built on NICs) on one network of one host."""

    xenapi = "PIF"

    device: Init[str]
    network: Init[NetworkRef]
    host: Init[HostRef]
    MAC: Init[str]
    MTU: Init[int]
    VLAN: Init[int]
    metrics: RO[PIFMetricsRef]
    physical: RO[bool] = False
    currently_attached: RO[bool] = True
    ip_configuration_mode: RO[IPMode] = "None"
    IP: RO[str] = ""
    netmask: RO[str] = ""
    gateway: RO[str] = ""
    DNS: RO[str] = ""
    bond_slave_of: RO[BondRef] = NULL
    bond_master_of: ClassVar[BackRef] = BackRef("Bond", "master")
    VLAN_master_of: RO[VLANRef] = NULL
    VLAN_slave_of: ClassVar[BackRef] = BackRef("VLAN", "tagged_PIF")
    management: RO[bool] = False
    other_config: RW[StrMap] = EMPTY
    disallow_unplug: RO[bool] = False
    tunnel_access_PIF_of: ClassVar[BackRef] = BackRef("tunnel", "access_PIF")
    tunnel_transport_PIF_of: ClassVar[BackRef] = BackRef("tunnel", "transport_PIF")
    ipv6_configuration_mode: RO[IPv6Mode] = "None"
    IPv6: RO[StrSet] = ()
    ipv6_gateway: RO[str] = ""
    primary_address_type: RO[PrimaryAddressType] = "IPv4"
    managed: Init[bool] = True
    properties: RO[StrMap] = EMPTY
    capabilities: RO[StrSet] = ()
    igmp_snooping_status: RO[IGMPStatus] = "unknown"
    sriov_physical_PIF_of: ClassVar[BackRef] = BackRef("network_sriov", "physical_PIF")
    sriov_logical_PIF_of: ClassVar[BackRef] = BackRef("network_sriov", "logical_PIF")
    PCI: RO[PCIRef] = NULL

    plugged: Hidden[bool] = False
    """Wanted: the host shall have this PIF up, on its bridge."""


def device_name(pif: PIF) -> str:
    """The device on the host: the NIC or bond itself, for a VLAN's PIF `ethX.Y`."""
    return f"{pif.device}.{pif.VLAN}" if pif.VLAN >= 0 else pif.device


def primary_address(pif: PIF) -> str:
    """The host's address on this PIF, of the PIF's primary type, without its prefix; empty where it has none."""
    if pif.primary_address_type == "IPv4":
        return pif.IP
    return next((address.partition("/")[0] for address in pif.IPv6 if address), "")


class PIFMetrics(Record, frozen=True, kw_only=True):
    """Link state and identity of a NIC, as its host reports them. speed is in Mbit/s, 0 when unknown."""

    xenapi = "PIF_metrics"
    removed = frozenset({"io_read_kbs", "io_write_kbs"})

    io_read_kbs: RO[float] = 0.0
    io_write_kbs: RO[float] = 0.0
    carrier: RO[bool]
    vendor_id: RO[str]
    vendor_name: RO[str]
    device_id: RO[str]
    device_name: RO[str]
    speed: RO[int]
    duplex: RO[bool]
    pci_bus_path: RO[str]
    last_updated: RO[datetime]
    other_config: RW[StrMap] = EMPTY
