"""From NICs to PIFs: each NIC that a host was given becomes a PIF on its own external network, made when the pool has none yet."""

from datetime import datetime

from xenet.model.derived import Bond
from xenet.model.errors import Failure
from xenet.model.hidden import NIC, HostFacts
from xenet.model.netmask import netmask_of
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.state import PoolState
from xenet.model.task import EPOCH
from xenet.model.types import Ref
from xenet.verbs.attach import check_unconnected, hosts_using
from xenet.verbs.call import Work
from xenet.verbs.management import move_management

NAME_LIMIT = 15


def external_bridge(device: str) -> str:
    """XenServer's name for a NIC's bridge: xenbrN for ethN, else br<device>, cut at the front where it would be too long."""
    number = device.removeprefix("eth")
    if device.startswith("eth") and number.isdecimal():
        return f"xenbr{number}"
    return f"br{device[-(NAME_LIMIT - 2) :]}"


def adopt_nics(work: Work, host: Ref) -> None:
    """A PIF for each NIC in the host's facts that has none and was not forgotten; wanted plugged from the start. The addresses that a NIC
    brought along (--take-over) become the PIF's, and the first with a gateway, else the first, the management interface where there is
    none."""
    facts = work.state.get(HostFacts, host)
    known = {pif.device for pif in work.state.where(PIF, "host", host) if pif.physical}
    free = [nic for nic in facts.nics if nic.device not in known and nic.device not in facts.forgotten]
    new = [nic for nic in free if has_place(work.state, host, nic)]
    made = [(introduce_nic(work, host, nic), nic) for nic in new]
    brought = [_take_over(work, pif, nic) for pif, nic in made if nic.addresses]
    if brought and not any(pif.management for pif in work.state.where(PIF, "host", host)):
        move_management(work, min(brought, key=lambda pif: not pif.gateway))


def check_place(state: PoolState, host: Ref, nic: NIC) -> None:
    """While a NIC was forgotten, a VLAN or a bond may have come to its network. Raises NETWORK_ALREADY_CONNECTED [host, pif],
    OTHER_OPERATION_IN_PROGRESS."""
    for network in state.where(Network, "bridge", external_bridge(nic.device)):
        check_unconnected(state, network, host)


def has_place(state: PoolState, host: Ref, nic: NIC) -> bool:
    try:
        check_place(state, host, nic)
    except Failure:
        return False
    return True


def introduce_nic(work: Work, host: Ref, nic: NIC, *, plugged: bool = True, managed: bool = True) -> PIF:
    """The PIF of a NIC. `managed` false: xenet knows it and keeps its hands off. Where VMs run on its network already, it is plugged in any
    case, or they would be cut off."""
    network = external_network(work, nic.device) if managed else unmanaged_network(work, nic.device)
    metrics = work.put(new_metrics(work.call.entropy.uuid(), nic))
    return work.put(
        PIF(
            uuid=work.call.entropy.uuid(),
            device=nic.device,
            network=network.ref,
            host=host,
            MAC=nic.mac,
            MTU=network.MTU,
            VLAN=-1,
            metrics=metrics.ref,
            physical=True,
            currently_attached=False,
            properties={"gro": "on"},
            capabilities=nic.capabilities,
            plugged=managed and (plugged or host in hosts_using(work.state, network.ref)),
            managed=managed,
        )
    )


def _take_over(work: Work, pif: PIF, nic: NIC) -> PIF:
    """An MTU that somebody chose for the segment stays, as the PIF's own: another one could cut off what flows there."""
    address, _, prefix = next((a for a in nic.addresses if ":" not in a), "").partition("/")
    return work.update(
        pif,
        ip_configuration_mode="Static" if address else "None",
        IP=address,
        netmask=netmask_of(int(prefix)) if prefix else "",
        gateway=nic.gateway,
        DNS=",".join(nic.dns),
        ipv6_configuration_mode="Static" if any(":" in a for a in nic.addresses) else "None",
        IPv6=tuple(a for a in nic.addresses if ":" in a),
        MTU=nic.mtu,
        other_config={} if nic.mtu == pif.MTU else {"mtu": str(nic.mtu)},
    )


def external_network(work: Work, device: str) -> Network:
    """The pool's network whose bridge follows the NIC's name, made if there is none."""
    bridge = external_bridge(device)
    found = work.state.where(Network, "bridge", bridge)
    if len(found) == 1:
        return found[0]
    label = f"Pool-wide network associated with {device}"
    return work.put(Network(uuid=work.call.entropy.uuid(), name_label=label, other_config={}, bridge=bridge))


def unmanaged_network(work: Work, device: str) -> Network:
    """The one network of all unmanaged NICs, which has no bridge (XenServer's rule)."""
    found = [network for network in work.state.where(Network, "bridge", "") if not network.managed]
    if len(found) == 1:
        return found[0]
    label = f"Pool-wide network associated with {device}"
    return work.put(Network(uuid=work.call.entropy.uuid(), name_label=label, other_config={}, bridge="", managed=False))


def new_metrics(uuid: str, nic: NIC) -> PIFMetrics:
    return PIFMetrics(
        uuid=uuid,
        carrier=nic.carrier,
        vendor_id=nic.vendor_id,
        vendor_name=nic.vendor_name,
        device_id=nic.device_id,
        device_name=nic.device_name,
        speed=nic.speed,
        duplex=nic.duplex,
        pci_bus_path=nic.pci_bus_path,
        last_updated=EPOCH,
    )


def refresh_metrics(work: Work, host: Ref, now: datetime) -> None:
    """PIF_metrics, MAC and capabilities as the host's facts have them; a record is touched only where something differs."""
    nics = {nic.device: nic for nic in work.state.get(HostFacts, host).nics}
    for pif in work.state.where(PIF, "host", host):
        nic = nics.get(pif.device)
        if nic is None or not pif.physical:
            continue
        set_metrics(work, pif, nic, now)
        if nic.mac not in (pif.MAC, _bonds_mac(work.state, pif)):
            work.update(pif, MAC=nic.mac)
        work.update(pif, capabilities=nic.capabilities)


def _bonds_mac(state: PoolState, slave: PIF) -> str | None:
    """The MAC that a slave's device has from its bond. The PIF keeps its own."""
    bond = state.find(Bond, slave.bond_slave_of)
    return state.get(PIF, bond.master).MAC.lower() if bond else None


def set_metrics(work: Work, pif: PIF, link: NIC, now: datetime) -> None:
    """What a NIC, or several as one, say of their link."""
    metrics = work.state.get(PIFMetrics, pif.metrics)
    if (metrics.carrier, metrics.speed, metrics.duplex) != (link.carrier, link.speed, link.duplex):
        work.update(metrics, carrier=link.carrier, speed=link.speed, duplex=link.duplex, last_updated=now)
