"""Steps 1 to 4 of the tour: external networks, the switch, internal networks, and who sees whom."""

from contextlib import ExitStack

from xenet.lab import operate
from xenet.lab.tour.common import give, new_vif, plugged
from xenet.lab.tour.stage import Stage, soon


def external_networks(stage: Stage) -> None:
    """Two hosts with three NICs each: external networks by themselves, bridges with the NICs' MACs"""
    stage.show(stage.xe("network-list", "params=name-label,bridge"))
    stage.show(stage.xe("pif-list", "device=eth1", "params=device,MAC,network-name-label,currently-attached"))
    for host in stage.lab.hosts:
        stage.show(stage.within(host.name, "ip", "-br", "link"))
        links = stage.links(host.name)
        pairs = [(links[nic.name], links.get(f"xenbr{nic.name[3:]}", {})) for nic in host.nics]
        stage.check(
            f"{host.name}: xenbr0 to xenbr{len(pairs) - 1} carry the MACs of their NICs", all(n["address"] == b.get("address") for n, b in pairs)
        )
        stage.check(f"{host.name}: the NICs are promiscuous ports of them", all(_is_port(nic, bridge) for nic, bridge in pairs))
        quiet = all(not bridge.get("addr_info", True) for _, bridge in pairs[1:])
        stage.check(f"{host.name}: no address on a switch, not even a link-local one, but the management's on xenbr0", quiet)
        stage.check(f"{host.name}: management answers on the wire", stage.ping("router", host.management.partition("/")[0]))


def _is_port(nic: dict[str, object], bridge: dict[str, object]) -> bool:
    return bool(bridge) and nic.get("master") == bridge["ifname"] and int(str(nic.get("promiscuity", 0))) > 0


def switching(stage: Stage) -> None:
    """VMs on one external network talk to each other and to the router; a switch floods once, then knows the way"""
    for vm in stage.lab.vms:
        _no_ipv6(stage, vm.name)
    pings = operate.ping_all(operate.endpoints(stage.run, stage.lab))
    stage.check(f"every VM reaches every other and the router: {pings.received} of {pings.sent} pings", pings.received == pings.sent)
    network = stage.uuid("net0", "network", "bridge=xenbr0")
    mac2 = _mac(stage, "vm2")
    stage.quietly("vm1", "ip", "neigh", "replace", "10.0.0.102", "lladdr", mac2, "dev", "eth0")
    for place, bridge in (("host1", "xenbr0"), ("host2", "xenbr0"), ("sw1", "sw1")):
        stage.within(place, "ip", "link", "set", bridge, "type", "bridge", "fdb_flush")
    table = stage.xe("network-fdb-list", f"uuid={network}")
    stage.show(table)
    stage.check("the tables have forgotten vm2", mac2 not in table)
    first = _seen_by_vm3(stage)
    stage.check("vm1 to vm2, MAC unknown: the request is flooded, vm3 sees it", any(f"> {mac2}" in line for line in first))
    table = stage.xe("network-fdb-list", f"uuid={network}")
    stage.show(table)
    stage.check("now both hosts know where vm2 is", sum(line.startswith(mac2) for line in table.splitlines()) == len(stage.lab.hosts))
    stage.check("the next one goes straight to vm2, vm3 sees nothing", not _seen_by_vm3(stage))


def _seen_by_vm3(stage: Stage) -> list[str]:
    """What vm3 hears of a ping between two others."""
    with stage.watch("vm3", "icmp", "and", "host", "10.0.0.102") as watch:
        answered = stage.ping("vm1", "10.0.0.102")
    stage.show("\n".join(watch.lines))
    stage.check("answered", answered)
    return watch.lines


def _mac(stage: Stage, vm: str) -> str:
    return str(stage.links(vm)["eth0"]["address"])


def _no_ipv6(stage: Stage, guest: str) -> None:
    """IPv6 speaks without being asked, and would teach the switches what the step wants them to learn."""
    stage.quietly(guest, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")


def internal_network(stage: Stage) -> None:
    """An internal network: its VMs talk, nobody outside sees a frame, its switch comes with the first VIF and goes with the last"""
    network = stage.make("inside", "network-create", "name-label=inside")
    vifs = {vm: new_vif(stage, vm, network, 1) for vm in ("vm1", "vm3")}
    bridge = stage.xe("network-param-get", f"uuid={network}", "param-name=bridge")
    stage.check(f"{bridge} is not there before the first VIF", bridge not in stage.links("host1"))
    for number, (vm, vif) in enumerate(vifs.items(), 1):
        stage.xe("vif-plug", f"uuid={vif}")
        give(stage, vm, 1, f"192.168.7.{number}/24")
    stage.show(stage.within("host1", "ip", "-br", "link", "show", "master", bridge))
    stage.check(f"{bridge} is there on host1", bridge in stage.links("host1"))
    with ExitStack() as watching:
        places = [f"host1/{nic.name}" for nic in stage.lab.hosts[0].nics] + ["vm5", "router/eth0"]
        theirs = [str(stage.links(vm)["eth1"]["address"]) for vm in vifs]
        only = f"ether host {theirs[0]} or ether host {theirs[1]}"
        outside = [watching.enter_context(stage.watch(place, only)) for place in places]
        stage.check("vm1 and vm3 talk", stage.ping("vm1", "192.168.7.2", 3))
    stage.check(f"no frame of theirs at {', '.join(places)}", not any(watch.lines for watch in outside))
    stage.xe("vif-unplug", f"uuid={vifs['vm1']}")
    stage.check(f"{bridge} stays while vm3 is on it", bridge in stage.links("host1"))
    stage.xe("vif-unplug", f"uuid={vifs['vm3']}")
    stage.check(f"{bridge} goes with the last VIF", soon(lambda: bridge not in stage.links("host1")))
    for vif in vifs.values():
        stage.xe("vif-destroy", f"uuid={vif}")
    stage.xe("network-destroy", f"uuid={network}")


def isolation_and_routing(stage: Stage) -> None:
    """Two internal networks on one host do not see each other; a VM on both routes; external ones are joined by the cable alone"""
    north = stage.make("north", "network-create", "name-label=north")
    south = stage.make("south", "network-create", "name-label=south")
    vifs = [plugged(stage, vm, net, device) for vm, net, device in (("vm1", north, 1), ("vm3", south, 1), ("vm5", north, 1), ("vm5", south, 2))]
    give(stage, "vm1", 1, "192.168.8.1/24")
    give(stage, "vm3", 1, "192.168.8.3/24")
    with stage.watch("vm3/1") as watch:
        reached = stage.ping("vm1", "192.168.8.3")
    stage.check("vm1 on north does not reach vm3 on south, which hears nothing at all", not reached and not watch.lines)
    _route_through_vm5(stage)
    stage.check("with vm5 routing between them it does", stage.ping("vm1", "192.168.9.3"))
    for vif in vifs:
        stage.xe("vif-unplug", f"uuid={vif}")
        stage.xe("vif-destroy", f"uuid={vif}")
    for network in (north, south):
        stage.xe("network-destroy", f"uuid={network}")
    _joined_by_the_cable(stage)


def _route_through_vm5(stage: Stage) -> None:
    give(stage, "vm5", 1, "192.168.8.254/24")
    give(stage, "vm5", 2, "192.168.9.254/24")
    stage.within("vm5", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    stage.within("vm3", "ip", "address", "flush", "dev", "eth1")
    give(stage, "vm3", 1, "192.168.9.3/24")
    stage.within("vm1", "ip", "route", "add", "192.168.9.0/24", "via", "192.168.8.254")
    stage.within("vm3", "ip", "route", "add", "192.168.8.0/24", "via", "192.168.9.254")


def _joined_by_the_cable(stage: Stage) -> None:
    """eth1 and eth2 of one host are two networks, which meet in the physical switch and nowhere else."""
    net1, net2 = stage.uuid("net1", "network", "bridge=xenbr1"), stage.uuid("net2", "network", "bridge=xenbr2")
    vifs = [plugged(stage, "vm1", net1, 1), plugged(stage, "vm3", net2, 1)]
    give(stage, "vm1", 1, "192.168.10.1/24")
    give(stage, "vm3", 1, "192.168.10.3/24")
    with stage.watch("host1/eth2", "icmp") as watch:
        reached = stage.ping("vm1", "192.168.10.3")
    stage.show("\n".join(watch.lines))
    stage.check("the networks of eth1 and eth2 are joined by their cables to sw1", reached and bool(watch.lines))
    stage.console.print("  [bold cyan]$ xenet lab cut host1/eth2[/]")
    operate.set_cable(stage.run, "host1/eth2", plugged=False)
    stage.check("with eth2's cable pulled they are not", not stage.ping("vm1", "192.168.10.3"))
    stage.console.print("  [bold cyan]$ xenet lab mend host1/eth2[/]")
    operate.set_cable(stage.run, "host1/eth2", plugged=True)
    stage.check("and plugged again they are", soon(lambda: stage.ping("vm1", "192.168.10.3")))
    for vif in vifs:
        stage.xe("vif-unplug", f"uuid={vif}")
        stage.xe("vif-destroy", f"uuid={vif}")
