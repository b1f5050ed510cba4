"""PIFs come and go: scan, introduce, forget, and their database-only sisters.

A NIC that was forgotten is remembered as such: a restart does not adopt it again, only `introduce` or a scan does, and until then xenet
touches nothing of it.
"""

from xenet.model.derived import VLAN as VLANRecord
from xenet.model.errors import Failure, not_allowed
from xenet.model.hidden import NIC, HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF, IPMode, IPv6Mode, PIFMetrics
from xenet.model.types import EMPTY, NULL, BondRef, HostRef, NetworkRef, PIFRef, PrimaryAddressType, Ref, StrMap, StrSet, VLANRef
from xenet.verbs.adopt import check_place, has_place, introduce_nic, new_metrics
from xenet.verbs.allowed import check_removable, check_unheld
from xenet.verbs.attach import check_live, check_unconnected, the_host
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message
from xenet.verbs.unmanaged import note_unmanaged
from xenet.verbs.vif import check_mac


@message("PIF", needs_facts=the_host)
def scan(call: Call, host: HostRef) -> Outcome:
    """A PIF, not plugged, for each NIC of the host that has none, one forgotten earlier too. PIFs of NICs that are gone stay, and a NIC
    whose network has another PIF here by now is left alone."""
    work = Work(call)
    facts = _facts(call, host)
    known = _physical_devices(call, host)
    for nic in facts.nics:
        if nic.device not in known and has_place(call.state, host, nic):
            introduce_nic(work, host, nic, plugged=False)
    _remember(work, host, tuple(name for name in facts.forgotten if name not in {nic.device for nic in facts.nics}))
    return work.outcome()


@message("PIF", PIFRef, needs_facts=the_host)
def introduce(call: Call, host: HostRef, MAC: str, device: str, managed: bool = True) -> Outcome:
    """A PIF, not plugged, for one NIC. Unmanaged: xenet knows it and keeps its hands off, and the addresses that the device has by itself
    show. An empty MAC: whichever the device has. Raises MAC_INVALID [mac], DUPLICATE_PIF_DEVICE_NAME [device],
    COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS [device, mac], NETWORK_ALREADY_CONNECTED [host, pif]."""
    mac = MAC.lower()
    if mac:
        check_mac(mac)
    if device in _physical_devices(call, call.state.get(Host, host).ref):
        raise Failure("DUPLICATE_PIF_DEVICE_NAME", device)
    facts = _facts(call, host)
    nic = next((nic for nic in facts.nics if nic.device == device and mac in ("", nic.mac)), None)
    if nic is None:
        raise Failure("COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS", device, mac)
    if managed:
        check_place(call.state, host, nic)
    work = Work(call)
    pif = introduce_nic(work, host, nic, plugged=False, managed=managed)
    _remember(work, host, tuple(name for name in facts.forgotten if name != device))
    note_unmanaged(work, host)
    return work.outcome(pif.ref)


@message("PIF")
def forget(call: Call, self: PIFRef) -> Outcome:
    """The NIC leaves its bridge and is on no network; the network stays, without a PIF here."""
    pif = call.state.get(PIF, self)
    check_forgettable(call, pif)
    check_removable(call.state, pif)
    facts = _facts(call, pif.host)
    work = Work(call)
    work.delete(pif)
    metrics = call.state.find(PIFMetrics, pif.metrics)
    if metrics is not None:
        work.delete(metrics)
    if pif.physical:
        _remember(work, pif.host, (*facts.forgotten, pif.device))
    if not pif.managed or not (pif.plugged or pif.currently_attached):
        return work.outcome()
    check_live(call.state, pif.host)
    work.leave(call.state.get(Network, pif.network))
    return work.await_host(pif.host, [(pif, "forget"), (facts, "forget")], lambda draft: None)


def check_forgettable(call: Call, pif: PIF) -> None:
    """XenServer's order: PIF_IS_MANAGEMENT_INTERFACE, PIF_ALREADY_BONDED, PIF_VLAN_STILL_EXISTS, PIF_TUNNEL_STILL_EXISTS,
    PIF_SRIOV_STILL_EXISTS, each with the PIF."""
    back = call.state.back
    if pif.management:
        raise Failure("PIF_IS_MANAGEMENT_INTERFACE", pif.ref)
    if pif.bond_slave_of != NULL or back(pif.ref, PIF.bond_master_of):
        raise Failure("PIF_ALREADY_BONDED", pif.ref)
    if pif.VLAN_master_of != NULL or back(pif.ref, PIF.VLAN_slave_of):
        raise Failure("PIF_VLAN_STILL_EXISTS", pif.ref)
    if back(pif.ref, PIF.tunnel_access_PIF_of) or back(pif.ref, PIF.tunnel_transport_PIF_of):
        raise Failure("PIF_TUNNEL_STILL_EXISTS", pif.ref)
    if back(pif.ref, PIF.sriov_logical_PIF_of):
        raise Failure("CANNOT_FORGET_SRIOV_LOGICAL", pif.ref)
    if back(pif.ref, PIF.sriov_physical_PIF_of):
        raise Failure("PIF_SRIOV_STILL_EXISTS", pif.ref)


def _facts(call: Call, host: Ref) -> HostFacts:
    """What the host said of its NICs. While one is being forgotten, no other PIF comes in its place: a failure brings it back.
    Raises OTHER_OPERATION_IN_PROGRESS."""
    facts = call.state.get(HostFacts, call.state.get(Host, host).ref)
    check_unheld(call.state, facts)
    return facts


def _physical_devices(call: Call, host: Ref) -> set[str]:
    return {pif.device for pif in call.state.where(PIF, "host", host) if pif.physical}


def _remember(work: Work, host: Ref, forgotten: StrSet) -> None:
    """Which of the host's NICs are forgotten."""
    facts = work.state.get(HostFacts, host)
    work.update(facts, forgotten=tuple(dict.fromkeys(forgotten)))


@message("PIF", PIFRef)
def db_introduce(  # noqa: PLR0913 - XenServer's parameters
    call: Call,
    device: str,
    network: NetworkRef,
    host: HostRef,
    MAC: str,
    MTU: int,
    VLAN: int,
    physical: bool,
    ip_configuration_mode: IPMode,
    IP: str,
    netmask: str,
    gateway: str,
    DNS: str,
    bond_slave_of: BondRef,
    VLAN_master_of: VLANRef,
    management: bool,
    other_config: StrMap,
    disallow_unplug: bool = False,
    ipv6_configuration_mode: IPv6Mode = "None",
    IPv6: StrSet = (),
    ipv6_gateway: str = "",
    primary_address_type: PrimaryAddressType = "IPv4",
    managed: bool = True,
    properties: StrMap = EMPTY,
) -> Outcome:
    """The records alone, unplugged: nothing on the host changes. bond_slave_of is ignored, as in XenServer, and so is management: a host
    is reached where management_reconfigure says.
    Raises DUPLICATE_PIF_DEVICE_NAME [device], VLAN_IN_USE [device, tag] for the VLAN of another PIF, NETWORK_ALREADY_CONNECTED [host, pif]."""
    on = call.state.get(Network, network)
    if physical and device in _physical_devices(call, host):
        raise Failure("DUPLICATE_PIF_DEVICE_NAME", device)
    if VLAN_master_of != NULL:
        vlan = call.state.get(VLANRecord, VLAN_master_of)
        raise Failure("VLAN_IN_USE", call.state.get(PIF, vlan.tagged_PIF).device, str(vlan.tag))
    check_unconnected(call.state, on, host)
    work = Work(call)
    nic = next((nic for nic in _facts(call, host).nics if nic.device == device), None)
    metrics = work.put(new_metrics(call.entropy.uuid(), nic or NIC(device=device, mac=MAC)))
    pif = work.put(
        PIF(
            uuid=call.entropy.uuid(),
            device=device,
            network=network,
            host=host,
            MAC=MAC,
            MTU=MTU,
            VLAN=VLAN,
            metrics=metrics.ref,
            physical=physical,
            currently_attached=False,
            ip_configuration_mode=ip_configuration_mode,
            IP=IP,
            netmask=netmask,
            gateway=gateway,
            DNS=DNS,
            other_config=other_config,
            disallow_unplug=disallow_unplug,
            ipv6_configuration_mode=ipv6_configuration_mode,
            IPv6=IPv6,
            ipv6_gateway=ipv6_gateway,
            primary_address_type=primary_address_type,
            managed=managed,
            properties=properties,
        )
    )
    return work.outcome(pif.ref)


@message("PIF")
def db_forget(call: Call, self: PIFRef) -> Outcome:
    """The records alone. Of a PIF that is up nothing may be forgotten but by `forget`, and what stands on it must go first. Raises what
    `forget` raises, and OPERATION_NOT_ALLOWED."""
    pif = call.state.get(PIF, self)
    check_forgettable(call, pif)
    if pif.managed and (pif.plugged or pif.currently_attached):
        raise not_allowed("the PIF is plugged: unplug it first, or use PIF.forget")
    check_removable(call.state, pif)
    work = Work(call)
    work.delete(pif)
    metrics = call.state.find(PIFMetrics, pif.metrics)
    if metrics is not None:
        work.delete(metrics)
    return work.outcome()


@message("PIF")
def set_disallow_unplug(call: Call, self: PIFRef, value: bool) -> Outcome:
    pif = call.state.get(PIF, self)
    check_unheld(call.state, pif)
    work = Work(call)
    work.update(pif, disallow_unplug=value)
    return work.outcome()
