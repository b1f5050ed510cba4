"""Unmanaged PIFs: NICs that xenet knows and keeps its hands off. What their administrators set on the devices shows in the records."""

from xenet.model.hidden import NIC, HostFacts
from xenet.model.netmask import netmask_of
from xenet.model.pif import PIF
from xenet.model.types import Ref
from xenet.verbs.call import Work
from xenet.verbs.management import note_address


def note_unmanaged(work: Work, host: Ref) -> None:
    """The addresses and the gateway that the devices of the host's unmanaged PIFs have by themselves, as its facts say. The modes stay
    None: xenet sets nothing there. Where such a PIF is the management interface, the host is reached at what it has now."""
    nics = {nic.device: nic for nic in work.state.get(HostFacts, host).nics}
    for pif in work.state.where(PIF, "host", host):
        if not pif.managed and pif.physical and pif.device in nics:
            _note(work, pif, nics[pif.device])


def _note(work: Work, pif: PIF, nic: NIC) -> None:
    """Of several IPv4 addresses the one that the PIF shows already, while the device has it."""
    v4 = [cidr.partition("/") for cidr in nic.addresses if ":" not in cidr]
    address, _, prefix = next((parts for parts in v4 if parts[0] == pif.IP), v4[0] if v4 else ("", "", ""))
    v6 = tuple(cidr for cidr in nic.addresses if ":" in cidr)
    gateway, gateway6 = ("", nic.gateway) if ":" in nic.gateway else (nic.gateway, "")
    noted = {"IP": address, "netmask": netmask_of(int(prefix)) if prefix else "", "gateway": gateway, "IPv6": v6, "ipv6_gateway": gateway6}
    if any(getattr(pif, name) != value for name, value in noted.items()):
        work.update(pif, **noted)
        note_address(work, pif.host)
