"""Steps 5 and 7 of the tour: a network on a VLAN of both hosts, storage on another, and management on one, refused and allowed."""

from contextlib import ExitStack

from xenet.datapath.vlans import find_lack
from xenet.lab.tour.common import addresses, api_answers, find_pif, give, plugged, refusal
from xenet.lab.tour.stage import Stage, soon

TAG, OTHER, STORAGE = 42, 43, 77
PINGS = ("icmp", "or", "(vlan", "and", "icmp)")
"""pcap-filter(7): `vlan` moves what comes after it behind the tag."""
SAN = "10.77.0.{}"
"""The storage interfaces' addresses; they exist in the lab's namespaces only."""


def vlan_network(stage: Stage) -> None:
    """A VLAN on both hosts: eth1.42 with the NIC's MAC, tags on the cable and none in the VMs; the same tag connects, another does not"""
    stage.needs(find_lack())
    below = find_pif(stage, "below", stage.lab.hosts[0], 1)
    red, red_pifs = _on_every_host(stage, "red", below, TAG)
    blue, blue_pifs = _on_every_host(stage, "blue", below, OTHER)
    _devices_are_there(stage, red)
    vifs = [plugged(stage, vm, network, 1) for vm, network in (("vm1", red), ("vm2", red), ("vm4", blue))]
    for vm, last in (("vm1", 1), ("vm2", 2), ("vm4", 4)):
        give(stage, vm, 1, f"192.168.42.{last}/24")
    with ExitStack() as watching:
        cable, guest = (watching.enter_context(stage.watch(place, *PINGS)) for place in ("host1/eth1", "vm2/1"))
        reached = stage.ping("vm1", "192.168.42.2")
    stage.show("\n".join([*cable.lines, *guest.lines]))
    stage.check("vm1 on host1 reaches vm2 on host2", reached)
    stage.check(f"with tag {TAG} on the cable", bool(cable.lines) and all(f"vlan {TAG}," in line for line in cable.lines))
    stage.check("and without one in the guest", bool(guest.lines) and not any("vlan" in line for line in guest.lines))
    stage.check(f"vm4 on VLAN {OTHER} is not reached", not stage.ping("vm1", "192.168.42.4"))
    for vif in vifs:
        stage.xe("vif-unplug", f"uuid={vif}")
        stage.xe("vif-destroy", f"uuid={vif}")
    _gone_again(stage, {red: red_pifs, blue: blue_pifs}, (f"eth1.{TAG}", f"eth1.{OTHER}"))


def _on_every_host(stage: Stage, name: str, below: str, tag: int) -> tuple[str, list[str]]:
    """A new network, and its PIFs."""
    network = stage.make(name, "network-create", f"name-label={name}")
    made = stage.xe("pool-vlan-create", f"pif-uuid={below}", f"network-uuid={network}", f"vlan={tag}", "--minimal")
    return network, [stage.called(f"{name}_on_{host.name}", pif) for host, pif in zip(stage.lab.hosts, made.split(","), strict=True)]


def _devices_are_there(stage: Stage, network: str) -> None:
    bridge = stage.xe("network-param-get", f"uuid={network}", "param-name=bridge")
    devices = [bridge] if stage.on_openvswitch else [f"eth1.{TAG}", bridge]
    stage.show(stage.within("host1", "ip", "-br", "link", "show", *([] if stage.on_openvswitch else ["master"]), bridge))
    for host in stage.lab.hosts:
        links = stage.links(host.name)
        found = [links.get(name, {}) for name in devices]
        stage.check(
            f"{host.name}: {' and '.join(devices)}: there, up, with eth1's MAC",
            all(link.get("address") == host.nics[1].mac and "UP" in str(link.get("flags")) for link in found),
        )


def _gone_again(stage: Stage, networks: dict[str, list[str]], devices: tuple[str, ...]) -> None:
    if stage.on_openvswitch:
        devices = tuple(stage.xe("network-param-get", f"uuid={network}", "param-name=bridge") for network in networks)
    for network, pifs in networks.items():
        for pif in pifs:
            stage.xe("vlan-destroy", f"uuid={pif}")
        stage.xe("network-destroy", f"uuid={network}")
    there = {name for host in stage.lab.hosts for name in stage.links(host.name)}
    stage.check(f"{' and '.join(devices)}: gone with their VLANs", there.isdisjoint(devices))


def storage_on_a_vlan(stage: Stage) -> None:
    """The last part of step 7."""
    stage.needs(find_lack())
    network, pifs = _on_every_host(stage, "san", find_pif(stage, "below", stage.lab.hosts[0], 1), STORAGE)
    bridge = stage.xe("network-param-get", f"uuid={network}", "param-name=bridge")
    for number, (host, pif) in enumerate(zip(stage.lab.hosts, pifs, strict=True), 1):
        stage.xe("pif-reconfigure-ip", f"uuid={pif}", "mode=static", f"IP={SAN.format(number)}", "netmask=255.255.255.0")
        stage.check(f"{host.name}: {SAN.format(number)} is on {bridge}", addresses(stage, host.name, bridge) == [SAN.format(number)])
    with stage.watch("host1/eth1", *PINGS) as watch:
        reached = stage.ping("host1", SAN.format(2))
    stage.show("\n".join(watch.lines))
    stage.check(f"storage on VLAN {STORAGE}: host1 reaches host2, with tags", reached and all(f"vlan {STORAGE}," in line for line in watch.lines))
    _management_there(stage, pifs[0])
    _gone_again(stage, {network: pifs}, (f"eth1.{STORAGE}",))


def _management_there(stage: Stage, pif: str) -> None:
    """Refused with both ways out; the one that is the pool's is tried."""
    move = ("host-management-reconfigure", f"pif-uuid={pif}")
    stage.check("management on a VLAN is refused: the switch's native VLAN is the way", refusal(stage, "native VLAN", *move))
    pool = stage.uuid("pool", "pool", "params=uuid")
    stage.xe("pool-param-set", f"uuid={pool}", "other-config:management-on-vlan=true")
    stage.xe(*move)
    stage.check("or the pool allows it: the API answers there", soon(lambda: api_answers(stage, SAN.format(1))))
    stage.xe("host-management-reconfigure", f"pif-uuid={find_pif(stage, 'management1', stage.lab.hosts[0], 0)}")
    stage.xe("pool-param-remove", f"uuid={pool}", "param-name=other-config", "param-key=management-on-vlan")
