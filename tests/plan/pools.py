"""A pool's state from a few readable words, as the golden cases and the named states write them:

    networks: {red: {}, lan: {}}                             # bridges are named after their networks: br-red, br-lan
    pifs: {eth0: {network: lan, address: 10.0.0.5/24}}       # of the host `here`
    bonds: {bond0: {network: wan, slaves: [eth0, eth1]}}     # the first is the primary slave; the slaves' PIFs are unplugged
    vlans: {eth0.42: {network: dmz}}                         # on a NIC or a bond
    tunnels: {red: {over: eth0, peers: {there: 10.0.0.6}}}   # the network red, over eth0's address, to another host's
    attached: [blue]                                         # to `here`, with or without a VIF
    vms: {a: {domid: 1, vifs: {0: red, 1: {network: lan}}}}  # on `here` as a namespace, its VIFs plugged, if not said otherwise

Uuids are names, so that views and steps read as they are written: VIF 0 of VM a is `a.0`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from xenet.model.derived import VLAN, Bond, BondMode, Tunnel, TunnelProtocol
from xenet.model.guests import KEY
from xenet.model.hidden import Attachment
from xenet.model.himn import BRIDGE, SETTINGS
from xenet.model.netmask import netmask_of
from xenet.model.network import Network, NetworkLockingMode
from xenet.model.pif import PIF, IPv6Mode
from xenet.model.pool import Pool
from xenet.model.state import PoolState, state_of
from xenet.model.types import EMPTY, NULL, PrimaryAddressType, Record, Ref, ref_of
from xenet.model.vif import VIF, VIFLockingMode
from xenet.model.vm import VM

HERE = ref_of("here")
Words = Mapping[str, Any]


def pool(words: Words, revision: int = 1) -> PoolState:
    """The state that the words make up."""
    return state_of(revision, records(words))


def records(words: Words) -> Iterator[Record]:
    yield Pool(uuid="pool", name_label="", name_description="", master=HERE, default_SR=NULL, other_config={KEY: words.get("guests", "namespace")})
    for name, said in words.get("networks", {}).items():
        yield network(name, **said)
    for name in words.get("attached", ()):
        yield Attachment(uuid=f"{name} here", network=ref_of(name), host=HERE)
    slaves = {device: name for name, said in words.get("bonds", {}).items() for device in said["slaves"]}
    for device, said in words.get("pifs", {}).items():
        yield pif(device, **said, **({"bond": slaves[device], "plugged": False} if device in slaves else {}))
    for device, said in words.get("bonds", {}).items():
        yield from bond(device, **said)
    for device, said in words.get("vlans", {}).items():
        yield from vlan(device, **said)
    for name, said in words.get("tunnels", {}).items():
        yield from tunnel(name, **said)
    for name, said in words.get("vms", {}).items():
        yield from vm(name, **said)


def network(
    name: str,
    mtu: int = 1500,
    routes: str = "",
    lock: NetworkLockingMode = "unlocked",
    told: Words | None = None,
    managed: bool = True,
    mirror: str = "",
) -> Network:
    """`xenapi` is the host internal management network; `mirror` is a VIF's uuid."""
    if name == BRIDGE:
        return Network(uuid=name, bridge=BRIDGE, MTU=mtu, other_config=SETTINGS, default_locking_mode=lock)
    other_config = {"static-routes": routes} if routes else {}
    config = other_config | ethtool(told) | mirrored(mirror)
    to = ref_of(mirror) if mirror else NULL
    return Network(uuid=name, bridge=f"br-{name}", MTU=mtu, other_config=config, default_locking_mode=lock, managed=managed, mirror_to=to)


def mirrored(to: str) -> dict[str, str]:
    return {"mirror-to": to} if to else {}


def ethtool(told: Words | None) -> dict[str, str]:
    """What drivers shall be told, as an other_config has it."""
    return {f"ethtool-{word}": value for word, value in (told or {}).items()}


def pif(
    device: str,
    network: str,
    mac: str = "",
    mtu: int = 1500,
    plugged: bool = True,
    address: str = "",
    gateway: str = "",
    management: bool = False,
    dhcp: bool = False,
    mode6: IPv6Mode = "None",
    address6: str = "",
    primary: PrimaryAddressType = "IPv4",
    bond: str = "",
    other_config: Mapping[str, str] = EMPTY,
    told: Words | None = None,
    gro: str = "",
) -> PIF:
    """`address`: given, or with `dhcp` what a server gave; `address6` what belongs to `mode6`. `bond` is whose slave it is."""
    own, _, prefix = address.partition("/")
    return PIF(
        uuid=device,
        device=device,
        network=ref_of(network),
        host=HERE,
        MAC=mac or nic_mac(device),
        MTU=mtu,
        VLAN=-1,
        metrics=NULL,
        plugged=plugged,
        ip_configuration_mode="DHCP" if dhcp else "Static" if own else "None",
        IP=own,
        netmask=netmask_of(int(prefix)) if prefix else "",
        gateway=gateway,
        ipv6_configuration_mode=mode6,
        IPv6=(address6,) if address6 else (),
        primary_address_type=primary,
        management=management,
        bond_slave_of=ref_of(f"the {bond}") if bond else NULL,
        other_config={**other_config, **ethtool(told)},
        properties={"gro": gro} if gro else {},
    )


def bond(
    device: str, network: str, slaves: Sequence[str], mode: BondMode = "balance-slb", properties: Words = EMPTY, **said: Any
) -> Iterator[Record]:
    """What else is said is the master PIF's. Its MAC is the primary slave's, if it is not given."""
    yield pif(device, network, **{"mac": nic_mac(slaves[0]), **said})
    yield Bond(uuid=f"the {device}", master=ref_of(device), primary_slave=ref_of(slaves[0]), mode=mode, properties=properties)


def vlan(device: str, network: str, **said: Any) -> Iterator[Record]:
    """Of a device such as eth0.42. What else is said is the untagged PIF's."""
    lower, _, tag = device.partition(".")
    upper = pif(device, network, **{"mac": "fe:ff:ff:ff:ff:ff", **said})
    yield msgspec.structs.replace(upper, device=lower, VLAN=int(tag), VLAN_master_of=ref_of(f"VLAN {device}"))
    yield VLAN(uuid=f"VLAN {device}", tagged_PIF=ref_of(lower), untagged_PIF=ref_of(device), tag=int(tag))


def tunnel(network: str, over: str, peers: Mapping[str, str], mtu: int = 1450, key: int = 1, protocol: TunnelProtocol = "vxlan") -> Iterator[Record]:
    """This host's end, and those of its peers with their transports."""
    yield from _end(network, f"tunnel-{network}", ref_of(over), HERE, mtu, key, protocol)
    for host, address in peers.items():
        below = f"{over}-{host}"
        yield msgspec.structs.replace(pif(over, "lan", address=f"{address}/24"), uuid=below, host=ref_of(host))
        yield from _end(network, f"tunnel-{network}-{host}", ref_of(below), ref_of(host), mtu, key, protocol)


def _end(network: str, uuid: str, below: Ref, host: Ref, mtu: int, key: int, protocol: TunnelProtocol) -> Iterator[Record]:
    above = pif("tunnel0", network, mac="02:00:00:00:77:00", mtu=mtu)
    yield msgspec.structs.replace(above, uuid=uuid, host=host)
    yield Tunnel(uuid=f"{uuid}.tunnel", access_PIF=ref_of(uuid), transport_PIF=below, protocol=protocol, key=key)


def nic_mac(device: str) -> str:
    return f"02:00:00:00:ee:{int(device.removeprefix('eth')):02x}"


def vm(name: str, domid: int = -1, host: str = "here", kind: str = "", vifs: Words | None = None, **moving: Any) -> Iterator[Record]:
    """`moving`: peer (a host), peer_domid, born, handing_over of a VM that migrates."""
    yield VM(
        uuid=name,
        name_label=name,
        is_a_template=False,
        affinity=NULL,
        memory_static_max=1,
        memory_dynamic_max=1,
        memory_dynamic_min=1,
        memory_static_min=1,
        VCPUs_max=1,
        VCPUs_at_startup=1,
        actions_after_shutdown="destroy",
        actions_after_reboot="restart",
        actions_after_crash="restart",
        HVM_boot_policy="",
        HVM_boot_params={},
        platform={},
        other_config={KEY: kind} if kind else {},
        recommendations="",
        domid=domid,
        running_on=ref_of(host) if domid >= 0 else NULL,
        **{**moving, "peer": ref_of(moving["peer"]) if "peer" in moving else NULL},
    )
    for device, said in (vifs or {}).items():
        yield vif(name, device, **({"network": said} if isinstance(said, str) else said))


def vif(
    name: str,
    device: int | str,
    network: str,
    mtu: int = 1500,
    plugged: bool = True,
    mac: str = "",
    kbps: int = 0,
    lock: VIFLockingMode = "network_default",
    allowed: str = "",
    told: Words | None = None,
    mirror: str = "",
) -> VIF:
    """`allowed` are addresses and CIDRs of either kind, with commas between them; `mirror` is another VIF's uuid."""
    entries = [entry for entry in allowed.split(",") if entry]
    return VIF(
        uuid=f"{name}.{device}",
        device=str(device),
        network=ref_of(network),
        VM=ref_of(name),
        MAC=mac or vif_mac(name, device),
        MTU=mtu,
        other_config=ethtool(told) | mirrored(mirror),
        mirror_to=ref_of(mirror) if mirror else NULL,
        qos_algorithm_type="ratelimit" if kbps else "",
        qos_algorithm_params={"kbps": str(kbps)} if kbps else {},
        plugged=plugged,
        locking_mode=lock,
        ipv4_allowed=tuple(entry for entry in entries if ":" not in entry),
        ipv6_allowed=tuple(entry for entry in entries if ":" in entry),
    )


def vif_mac(name: str, device: int | str) -> str:
    return f"02:00:00:00:{ord(name[0]):02x}:{int(device):02x}"
