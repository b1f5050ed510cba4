"""The host's own addresses: PIF.reconfigure_ip and its IPv6 sister. An address lives on the network's bridge, one a network and host."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface

from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.hidden import Lease
from xenet.model.host import Host
from xenet.model.netmask import netmask_of, prefix_of
from xenet.model.pif import PIF, IPMode, IPv6Mode, primary_address
from xenet.model.state import PoolState
from xenet.model.types import PIFRef, PrimaryAddressType, Ref
from xenet.verbs.allowed import check_unheld
from xenet.verbs.attach import check_live
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.pif import check_without_vifs
from xenet.verbs.registry import message
from xenet.verbs.stack import access_pifs


@message("PIF")
def reconfigure_ip(call: Call, self: PIFRef, mode: IPMode, IP: str, netmask: str, gateway: str, DNS: str) -> Outcome:
    """The values are kept with mode None, too; with DHCP the call lasts until a server has answered, and what it gave stands in the PIF.
    Of DNS the IPv4 entries count, those of IPv6 stay as they were; what is no address is dropped. Raises
    PIF_UNMANAGED, INVALID_IP_ADDRESS_SPECIFIED [parameter], PIF_IS_MANAGEMENT_INTERFACE, PIF_CONFIGURATION_ERROR; with mode None what
    `_check_carries_nothing` does."""
    pif = call.state.get(PIF, self)
    if not pif.managed:
        raise Failure("PIF_UNMANAGED", self)
    for name, value, needed in (("IP", IP, True), ("netmask", netmask, True), ("gateway", gateway, False)):
        if _version(value) != 4 and (value != "" or (mode == "Static" and needed)):
            raise Failure("INVALID_IP_ADDRESS_SPECIFIED", name)
    if mode == "None" and pif.management and pif.primary_address_type == "IPv4":
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", self)
    if mode == "None":
        _check_carries_nothing(call.state, pif)
    if mode == "Static":
        check_netmask(pif, netmask)
    if mode == "DHCP":  # the server's answer takes their place
        IP, netmask, gateway = "", "", ""
    dns = ",".join((*_servers(DNS, 4), *_servers(pif.DNS, 6)))
    work = Work(call)
    work.update(pif, ip_configuration_mode=mode, IP=IP, netmask=netmask, gateway=gateway, DNS=dns)
    return applied(work, pif)


@message("PIF")
def reconfigure_ipv6(call: Call, self: PIFRef, mode: IPv6Mode, IPv6: str, gateway: str, DNS: str) -> Outcome:
    """The same for IPv6, whose address comes with its prefix length. With DHCP the call lasts until a server has answered; Autoconf
    returns at once, and the addresses stand in the PIF when a router has advertised them.
    Raises INVALID_CIDR_ADDRESS_SPECIFIED, INVALID_IP_ADDRESS_SPECIFIED [parameter] and what reconfigure_ip raises."""
    pif = call.state.get(PIF, self)
    if not pif.managed:
        raise Failure("PIF_UNMANAGED", self)
    if not _is_cidr6(IPv6) and (IPv6 != "" or mode == "Static"):
        raise Failure("INVALID_CIDR_ADDRESS_SPECIFIED", "IPv6")
    if gateway != "" and _version(gateway) != 6:
        raise Failure("INVALID_IP_ADDRESS_SPECIFIED", "gateway")
    if mode == "None" and pif.management and pif.primary_address_type == "IPv6":
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", self)
    given = mode in ("DHCP", "Autoconf")  # what the network gives takes their place
    dns = ",".join((*_servers(DNS, 6), *_servers(pif.DNS, 4)))
    work = Work(call)
    work.update(pif, ipv6_configuration_mode=mode, IPv6=() if given else (IPv6,), ipv6_gateway="" if given else gateway, DNS=dns)
    return applied(work, pif)


@message("PIF")
def set_primary_address_type(call: Call, self: PIFRef, primary_address_type: PrimaryAddressType) -> Outcome:
    """Which address type makes this PIF fit for management. Raises PIF_IS_MANAGEMENT_INTERFACE."""
    pif = call.state.get(PIF, self)
    if pif.management:
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", self)
    check_unheld(call.state, pif)
    work = Work(call)
    work.update(pif, primary_address_type=primary_address_type)
    return work.outcome()


def note_leases(work: Draft, host: Ref, leases: Mapping[str, Lease]) -> None:
    """What DHCP gave becomes the PIF's: that is what is wanted on the bridge. An empty lease, one that ended, takes the address away."""
    for pif in work.state.where(PIF, "host", host) if leases else ():
        lease = leases.get(pif.uuid) if pif.ip_configuration_mode == "DHCP" else None
        if lease is None:
            continue
        address, _, prefix = next(iter(lease.addresses), "").partition("/")
        dns = ",".join((*lease.dns, *_servers(pif.DNS, 6)))
        work.update(pif, IP=address, netmask=netmask_of(int(prefix)) if prefix else "", gateway=lease.gateway, DNS=dns)
        management_address(work, pif)


def note_leases6(work: Draft, host: Ref, leases: Mapping[str, Lease]) -> None:
    """The same for IPv6. Router advertisements name no DNS server here, so what was given with Autoconf stays."""
    for pif in work.state.where(PIF, "host", host) if leases else ():
        lease = leases.get(pif.uuid) if pif.ipv6_configuration_mode in ("DHCP", "Autoconf") else None
        if lease is None:
            continue
        servers = lease.dns if pif.ipv6_configuration_mode == "DHCP" else _servers(pif.DNS, 6)
        dns = ",".join((*servers, *_servers(pif.DNS, 4)))
        work.update(pif, IPv6=lease.addresses, ipv6_gateway=lease.gateway, DNS=dns)
        management_address(work, pif)


def check_netmask(pif: PIF, netmask: str) -> None:
    """Raises PIF_CONFIGURATION_ERROR for a mask with holes, before anything is touched."""
    try:
        prefix_of(netmask)
    except ValueError:
        raise Failure("PIF_CONFIGURATION_ERROR", pif.ref, f"{netmask} is no netmask") from None


def _check_carries_nothing(state: PoolState, transport: PIF) -> None:
    """The tunnels over it would be dead, though they say that they are up. Raises VIF_IN_USE [network, vif] as PIF.unplug does, and
    PIF_CONFIGURATION_ERROR [pif, text] where none but the tunnel itself needs the address."""
    for access in access_pifs(state, transport):
        if access.plugged:
            check_without_vifs(state, access)
            raise Failure("PIF_CONFIGURATION_ERROR", transport.ref, f"{access.device} runs over its address; unplug or destroy that tunnel first")


def applied(work: Work, pif: PIF) -> Outcome:
    """The settings take effect at once where the PIF is plugged; else they are kept until it is."""
    management_address(work, pif)
    if not pif.plugged:
        check_unheld(work.base, pif)
        return work.outcome()
    check_live(work.state, pif.host)
    return work.await_host(pif.host, [(pif, "reconfigure_ip")], lambda draft: None)


def management_address(draft: Draft, pif: PIF) -> None:
    """host.address is the management interface's."""
    now = draft.state.get(PIF, pif.ref)
    if now.management:
        draft.update(draft.state.get(Host, now.host), address=primary_address(now))


def _version(text: str) -> int:
    """4 or 6 for an address, 0 for anything else."""
    try:
        return ip_address(text).version
    except ValueError:
        return 0


def _is_cidr6(text: str) -> bool:
    try:
        return "/" in text and ip_interface(text).version == 6
    except ValueError:
        return False


def _servers(text: str, version: int) -> list[str]:
    return [entry.strip() for entry in text.split(",") if _version(entry.strip()) == version]
