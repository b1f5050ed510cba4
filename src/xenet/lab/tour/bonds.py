"""Step 6 of the tour: two NICs as one, both carry frames, and a cable may be pulled."""

from contextlib import ExitStack

from xenet.datapath.bonds import find_lack
from xenet.lab import operate
from xenet.lab.topology import Host
from xenet.lab.tour.common import find_pif, give, plugged
from xenet.lab.tour.stage import Stage, soon

ADDRESS = "192.168.6.{}"
"""The VMs' addresses on the bond; they exist in the lab's namespaces only."""
NICS = ("eth1", "eth2")
PINGS = 4
MACS = {"vm1": "02:00:00:00:06:01", "vm3": "02:00:00:00:06:02"}
"""Of the VMs' NICs on the bond: the kernel's choice is by the last bit, and nothing here shall hang on chance."""


def bond(stage: Stage) -> None:
    """A bond of eth1 and eth2 on host1: its VMs use one NIC each, no frame comes twice, and pings go on when a cable is pulled"""
    stage.needs(find_lack())
    host = stage.lab.hosts[0]
    pifs = [find_pif(stage, f"eth{number}", host, number) for number in (1, 2)]
    network = stage.make("bonded", "network-create", "name-label=bonded")
    made = stage.make("bond", "bond-create", f"network-uuid={network}", f"pif-uuids={','.join(pifs)}")
    bridge = stage.xe("network-param-get", f"uuid={network}", "param-name=bridge")
    stage.show(stage.xe("bond-list", f"uuid={made}", "params=mode,links-up"))
    if not stage.on_openvswitch:
        stage.show(stage.within(host.name, "ip", "-br", "link", "show", "master", "bond0"))
    links = stage.links(host.name)
    stage.check(f"{' and '.join(NICS)} are one: {bridge} has the MAC of the first", links[bridge]["address"] == host.nics[1].mac)
    stage.check("both have a link", soon(lambda: _links_up(stage, made) == "2"))
    stage.check("their own switches are gone", {"xenbr1", "xenbr2"}.isdisjoint(links))
    outside = stage.uuid("net1", "network", "bridge=xenbr1")
    vifs = [*(_plugged(stage, vm, network) for vm in MACS), plugged(stage, "vm2", outside, 1)]
    for vm in (*MACS, "vm2"):
        give(stage, vm, 1, f"{ADDRESS.format(vm[2:])}/24")
    _both_carry(stage, host)
    _a_cable_is_pulled(stage, host, made)
    for vif in vifs:
        stage.xe("vif-unplug", f"uuid={vif}")
        stage.xe("vif-destroy", f"uuid={vif}")
    stage.xe("bond-destroy", f"uuid={made}")
    stage.xe("network-destroy", f"uuid={network}")
    stage.check("each NIC is on its own switch again, with its own MAC", soon(lambda: _is_apart(stage, host)))


def _plugged(stage: Stage, vm: str, network: str) -> str:
    uuid = stage.uuid(vm, "vm", f"name-label={vm}")
    vif = stage.make(f"{vm}_1", "vif-create", f"vm-uuid={uuid}", f"network-uuid={network}", "device=1", f"mac={MACS[vm]}")
    stage.xe("vif-plug", f"uuid={vif}")
    return vif


def _links_up(stage: Stage, made: str) -> str:
    return stage.xe("bond-param-get", f"uuid={made}", "param-name=links-up")


def _is_apart(stage: Stage, host: Host) -> bool:
    """Each switch has its own NIC's MAC, which the NIC has, too."""
    links = stage.links(host.name)
    switches = [(f"xenbr{number}", nic) for number, nic in enumerate(host.nics)]
    return all(bridge in links and links[bridge]["address"] == links[nic.name]["address"] == nic.mac for bridge, nic in switches)


def _both_carry(stage: Stage, host: Host) -> None:
    """By source MAC: each VM's frames take one of the cables."""
    with ExitStack() as watching:
        cables = [watching.enter_context(stage.watch(f"{host.name}/{nic}", "icmp", "and", "dst", "host", ADDRESS.format(2))) for nic in NICS]
        target = watching.enter_context(stage.watch("vm2/1", "icmp", "and", "dst", "host", ADDRESS.format(2)))
        answered = [stage.ping(vm, ADDRESS.format(2), PINGS) for vm in MACS]
    ways = {vm: [sum(mac in line for line in cable.lines) for cable in cables] for vm, mac in MACS.items()}
    for vm, counts in ways.items():
        stage.show(f"{vm}: " + ", ".join(f"{count} by {nic}" for nic, count in zip(NICS, counts, strict=True)))
    stage.check("all pings from host1's VMs to vm2 on host2 are answered", all(answered))
    stage.check("each VM's frames take one NIC", all(sorted(counts) == [0, PINGS] for counts in ways.values()))
    stage.check("and both NICs carry some", all(sum(carried) for carried in zip(*ways.values(), strict=True)))
    stage.check("none comes twice, and none back", len(target.lines) == PINGS * len(MACS))


def _a_cable_is_pulled(stage: Stage, host: Host, made: str) -> None:
    with ExitStack() as watching:
        other = watching.enter_context(stage.watch(f"{host.name}/eth2", "rarp"))
        stage.console.print(f"  [bold cyan]$ xenet lab cut {host.name}/eth1[/]")
        operate.set_cable(stage.run, f"{host.name}/eth1", plugged=False)
        reached = [stage.ping(vm, ADDRESS.format(2), PINGS) for vm in MACS]
        stage.check("links-up is 1", soon(lambda: _links_up(stage, made) == "1"))
    stage.show("\n".join(other.lines))
    stage.check("the pings go on, of each VM", all(reached))
    stage.check("the switches were told on eth2 where the VMs are now", all(any(mac in line for line in other.lines) for mac in MACS.values()))
    stage.console.print(f"  [bold cyan]$ xenet lab mend {host.name}/eth1[/]")
    operate.set_cable(stage.run, f"{host.name}/eth1", plugged=True)
