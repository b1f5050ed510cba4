"""Steps 7 and 9 of the tour: a host's own addresses on its networks, and a NIC that xenet leaves to the administrator."""

from xenet.lab import operate
from xenet.lab.topology import Host
from xenet.lab.tour.common import addresses, api_answers, find_pif, refusal
from xenet.lab.tour.stage import Stage, soon
from xenet.lab.tour.vlans import storage_on_a_vlan

STORAGE = "10.1.0.{}"
"""The storage interfaces' addresses; they exist in the lab's namespaces only."""


def management_and_storage(stage: Stage) -> None:
    """Management on one NIC, storage on another: each with an address on its switch; management moves, and back; storage on a VLAN"""
    pifs = [find_pif(stage, f"storage{number}", host, 1) for number, host in enumerate(stage.lab.hosts, 1)]
    for number, (host, pif) in enumerate(zip(stage.lab.hosts, pifs, strict=True), 1):
        address = STORAGE.format(number)
        stage.xe("pif-reconfigure-ip", f"uuid={pif}", "mode=static", f"IP={address}", "netmask=255.255.255.0")
        stage.show(stage.within(host.name, "ip", "-br", "address", "show", "xenbr1"))
        stage.check(f"{host.name}: {address} is on the switch xenbr1", addresses(stage, host.name, "xenbr1") == [address])
        stage.check(f"{host.name}: none on the NIC itself", addresses(stage, host.name, "eth1") == [])
        stage.xe("pif-param-set", f"uuid={pif}", "other-config:management_purpose=Storage")
    first = stage.lab.hosts[0]
    with stage.watch(f"{first.name}/eth1", "icmp", "and", "ether", "src", first.nics[1].mac) as watch:
        reached = stage.ping(first.name, STORAGE.format(2))
    stage.show("\n".join(watch.lines))
    stage.check("host1 reaches host2's storage interface, and asks through eth1", reached and bool(watch.lines))
    _storage_alone_is_cut(stage, first)
    _management_moves(stage, first, pifs[0])
    for host, pif in zip(stage.lab.hosts, pifs, strict=True):
        stage.xe("pif-reconfigure-ip", f"uuid={pif}", "mode=none")
        stage.check(f"{host.name}: no address on xenbr1 any more", addresses(stage, host.name, "xenbr1") == [])
    storage_on_a_vlan(stage)


def _storage_alone_is_cut(stage: Stage, host: Host) -> None:
    management = host.management.partition("/")[0]
    stage.console.print(f"  [bold cyan]$ xenet lab cut {host.name}/eth1[/]")
    operate.set_cable(stage.run, f"{host.name}/eth1", plugged=False)
    stage.check("with eth1's cable pulled storage is away", not stage.ping(host.name, STORAGE.format(2)))
    stage.check("and management answers", stage.ping("router", management))
    stage.console.print(f"  [bold cyan]$ xenet lab mend {host.name}/eth1[/]")
    operate.set_cable(stage.run, f"{host.name}/eth1", plugged=True)
    stage.check("plugged again, storage is back", soon(lambda: stage.ping(host.name, STORAGE.format(2))))


def _management_moves(stage: Stage, host: Host, storage: str) -> None:
    management = find_pif(stage, "management1", host, 0)
    uuid = stage.uuid(host.name, "host", f"name-label={host.name}")
    stage.xe("host-management-reconfigure", f"pif-uuid={storage}")
    moved = stage.xe("host-param-get", f"uuid={uuid}", "param-name=address")
    stage.check(f"the pool knows {host.name} by {moved}", moved == STORAGE.format(1))
    neighbour = stage.lab.hosts[1].name
    stage.console.print(f"  [bold cyan]{neighbour}$ xe -s http://{moved}:PORT -u root -pw ... host-list --minimal[/]")
    stage.check(f"and the API answers there: {neighbour} asks it", soon(lambda: api_answers(stage, STORAGE.format(1))))
    stage.check("a management interface is not unplugged", refusal(stage, "PIF carries management", "pif-unplug", f"uuid={storage}"))
    stage.check("its old address is still there", stage.ping("router", host.management.partition("/")[0]))
    stage.xe("host-management-reconfigure", f"pif-uuid={management}")
    back = stage.xe("host-param-get", f"uuid={uuid}", "param-name=address")
    stage.check(f"and back: {back}", back == host.management.partition("/")[0])


def unmanaged_nic(stage: Stage) -> None:
    """A NIC of the administrator's own: forgotten, it has no PIF and is on no network, and what is done to it stays; introduced again"""
    host = stage.lab.hosts[0]
    uuid, pif = stage.uuid(host.name, "host", f"name-label={host.name}"), find_pif(stage, "pif", host, 2)
    stage.xe("pif-forget", f"uuid={pif}")
    listed = stage.xe("pif-list", f"host-uuid={uuid}", "params=device", "--minimal")
    stage.show(listed)
    stage.check("eth2 has no PIF", "eth2" not in listed.split(","))
    links = stage.links(host.name)
    stage.check("it is on no switch, and its switch is gone", "master" not in links["eth2"] and "xenbr2" not in links)
    _the_administrators(stage, host)
    new = stage.make("new", "pif-introduce", f"host-uuid={uuid}", "device=eth2")
    stage.check("introduced, it has a PIF and is not plugged yet", "master" not in stage.links(host.name)["eth2"])
    stage.xe("pif-plug", f"uuid={new}")
    stage.check("plugged, it is a port of xenbr2 as before", stage.links(host.name)["eth2"].get("master") == "xenbr2")


def _the_administrators(stage: Stage, host: Host) -> None:
    """What somebody does by hand on a NIC that is forgotten stays as it is, whatever xenet does beside it."""
    for where, device, address in ((host.name, "eth2", "10.2.0.1/24"), ("router", "eth0", "10.2.0.254/24")):
        stage.within(where, "ip", "address", "add", address, "dev", device)
    stage.within(host.name, "ip", "link", "set", "eth2", "up")
    with stage.watch(f"{host.name}/eth2", "icmp", "and", "ether", "src", host.nics[2].mac) as watch:
        reached = stage.ping(host.name, "10.2.0.254")
    stage.show("\n".join(watch.lines))
    stage.check("the router answers the administrator over eth2", reached and bool(watch.lines))
    soon(lambda: "tentative" not in _picture(stage, host))
    before = _picture(stage, host)
    other = find_pif(stage, "storage1", host, 1)
    stage.xe("pif-unplug", f"uuid={other}")
    stage.xe("pif-reconfigure-ip", f"uuid={other}", "mode=static", f"IP={STORAGE.format(1)}", "netmask=255.255.255.0")
    stage.xe("pif-plug", f"uuid={other}")
    stage.xe("pif-reconfigure-ip", f"uuid={other}", "mode=none")
    stage.check("xenet has worked on eth1 meanwhile, and `ip -j -d address show eth2` is the same to the letter", _picture(stage, host) == before)
    for where, device, address in ((host.name, "eth2", "10.2.0.1/24"), ("router", "eth0", "10.2.0.254/24")):
        stage.within(where, "ip", "address", "delete", address, "dev", device)


def _picture(stage: Stage, host: Host) -> str:
    return stage.quietly(host.name, "ip", "-j", "-d", "address", "show", "dev", "eth2")
