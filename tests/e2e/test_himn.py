"""The host internal management network on real bridges: guests get their address by DHCP and reach their own host's API, and nobody else."""

import json
import os
import re
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import Inside, Pool, capture, links, pool, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel
BRIDGE = "xenapi"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Pool, Namespace, Namespace]]:
    with namespaces(2) as (one, two), pool(tmp_path) as made:
        cable(one, "eth0", two, "eth0")
        for name, host in (("host1", one), ("host2", two)):
            made.start_agent(name, netns=host)
            made.wait_for(name)
        yield made, one, two


def address_by_dhcp(guest: Inside) -> str:
    """What a client in the guest is told; it takes the address."""
    said = guest.command("sh", "-c", "udhcpc -i eth0 -n -q -t 30 -T 1 -s /bin/true 2>&1")
    address = re.search(r"lease of ([0-9.]+) obtained", said)
    assert address, said
    guest.command("ip", "address", "add", f"{address[1]}/16", "dev", "eth0")
    return address[1]


def answers(url: str) -> bool:
    with xmlrpc.client.ServerProxy(url) as api:
        return bool(api.system.listMethods())


def reached(guest: Inside, url: str) -> bool:
    try:
        return bool(guest(answers, url))
    except OSError:
        return False


def test_the_api_stays_there_when_the_host_has_no_management(site: tuple[Pool, Namespace, Namespace]) -> None:
    made, one, _ = site
    port = made.url.rsplit(":", 1)[1].rstrip("/")
    (pif,) = made.api.host.get_PIFs(made.host("host1"))
    made.api.PIF.reconfigure_ip(pif, "Static", "10.0.0.1", "255.255.255.0", "", "")
    made.api.host.management_reconfigure(pif)
    guest = made.start(made.vm("vm", made.external(BRIDGE)), "host1", "169.254.0.2/16")
    assert one(answers, f"http://10.0.0.1:{port}/")
    assert guest(answers, f"http://169.254.0.1:{port}/")
    made.api.host.management_disable()
    until(lambda: not reached(one, f"http://10.0.0.1:{port}/"))  # type: ignore[arg-type]
    assert guest(answers, f"http://169.254.0.1:{port}/")


def servers(host: Namespace) -> list[int]:
    """The DHCP servers in a host's namespace."""
    here = os.stat(host.fd)
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and process.joinpath("comm").read_text() == "dnsmasq\n" and _same(process / "ns/net", here):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _same(path: Path, here: os.stat_result) -> bool:
    there = os.stat(path)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def test_guests_get_addresses_and_reach_the_api_of_their_host_alone(site: tuple[Pool, Namespace, Namespace]) -> None:
    made, one, two = site
    himn = made.external(BRIDGE)
    assert BRIDGE not in links(one)
    first, second, other = (made.vm(name, himn) for name in ("first", "second", "other"))
    guests = [made.start(vm, host) for vm, host in ((first, "host1"), (second, "host1"), (other, "host2"))]
    assert json.loads(one.ip("-j", "address", "show", BRIDGE))[0]["addr_info"][0]["local"] == "169.254.0.1"
    assigned = made.api.network.get_assigned_ips(himn)
    with capture(one, "eth0") as cable_:
        for guest, vm in zip(guests, (first, second, other), strict=True):
            (vif,) = made.api.VM.get_VIFs(vm)
            assert address_by_dhcp(guest) == assigned[vif]
    assert len(set(assigned.values())) == 3
    port = made.url.rsplit(":", 1)[1].rstrip("/")
    for guest in guests:
        assert guest(answers, f"http://169.254.0.1:{port}/")
    assert ping(guests[0], assigned[made.api.VM.get_VIFs(second)[0]])
    assert not ping(guests[0], assigned[made.api.VM.get_VIFs(other)[0]], 1.0), "another host's are on another switch"
    assert not any(b"\xa9\xfe\x00" in frame for frame in cable_), "nothing of it leaves the host"
    made.api.VIF.unplug(made.api.VM.get_VIFs(first)[0])
    assert len(made.api.network.get_assigned_ips(himn)) == 2
    for vm in (first, second):
        made.api.VM.hard_shutdown(vm)
    assert BRIDGE not in links(one)
    until(lambda: not servers(one))
    assert len(servers(two)) == 1


def test_it_is_attached_without_a_guest_and_stays_when_asked(site: tuple[Pool, Namespace, Namespace]) -> None:
    """The host has its address, the server and the API, before any guest comes and until the last has gone."""
    made, one, two = site
    himn, inner = made.external(BRIDGE), made.network("inner")
    made.api.network.attach(himn, made.host("host1"))
    made.api.network.attach(inner, made.host("host1"))
    assert {BRIDGE, "xapi0"} <= links(one).keys()
    assert BRIDGE not in links(two)
    port = made.url.rsplit(":", 1)[1].rstrip("/")
    until(lambda: len(servers(one)) == 1)
    assert one(answers, f"http://169.254.0.1:{port}/")
    vm = made.vm("vm", himn, inner)
    assert address_by_dhcp(made.start(vm, "host1")) == "169.254.0.2"
    made.api.network.add_to_other_config(inner, "persist", "true")
    made.kill("host1")
    made.start_agent("host1")
    made.wait_for("host1")
    made.api.VM.hard_shutdown(vm)
    assert BRIDGE not in links(one)
    assert "xapi0" in links(one)
    made.api.network.destroy(inner)
    until(lambda: "xapi0" not in links(one))


def test_guests_are_held_to_their_address_and_their_rate(site: tuple[Pool, Namespace, Namespace]) -> None:
    made, *_ = site
    himn = made.external(BRIDGE)
    other_config = {**made.api.network.get_other_config(himn), "ip_disable_gw": "true"}
    made.api.network.set_other_config(himn, other_config)
    locked, free = made.vm("locked", himn), made.vm("free", himn)
    guest, other = made.start(locked, "host1"), made.start(free, "host1")
    (vif,) = made.api.VM.get_VIFs(locked)
    address = made.api.network.get_assigned_ips(himn)[vif]
    made.api.VIF.set_locking_mode(vif, "locked")
    made.api.VIF.set_ipv4_allowed(vif, [address])
    assert address_by_dhcp(guest) == address
    assert "router=" not in what_dhcp_says(other, made.folder)
    assert ping(guest, "169.254.0.1")
    guest.command("ip", "address", "add", "169.254.9.9/16", "dev", "eth0")
    guest.command("ip", "address", "del", f"{address}/16", "dev", "eth0")
    assert not ping(guest, "169.254.0.1", 1.0)
    made.api.network.set_other_config(himn, {**other_config, "ip_disable_gw": "false"})
    until(lambda: "router=169.254.0.1" in what_dhcp_says(other, made.folder))


def what_dhcp_says(guest: Inside, folder: Path) -> str:
    """The options that a client is told, as udhcpc gives them to its script; nothing without an answer."""
    script = folder / "options.sh"
    script.write_text("#!/bin/sh\n[ $1 = bound ] && env\nexit 0\n")
    script.chmod(0o700)
    return guest.command("sh", "-c", f"udhcpc -i eth0 -n -q -t 10 -T 1 -s {script} 2>/dev/null || true")


def test_killed_agents_leave_one_dhcp_server_and_a_door(site: tuple[Pool, Namespace, Namespace]) -> None:
    made, one, _ = site
    vm = made.vm("vm", made.external(BRIDGE))
    guest = made.start(vm, "host1")
    until(lambda: servers(one))
    made.kill("host1")
    until(lambda: not servers(one))
    port = made.url.rsplit(":", 1)[1].rstrip("/")
    guest.command("ip", "address", "add", "169.254.0.2/16", "dev", "eth0")
    assert guest(answers, f"http://169.254.0.1:{port}/"), "the door is the server's"
    made.start_agent("host1")
    made.wait_for("host1")
    until(lambda: len(servers(one)) == 1)
    guest.command("ip", "address", "flush", "dev", "eth0")
    assert address_by_dhcp(guest) == "169.254.0.2"
    made.kill("server")
    made.start_server()
    made.wait_for("host1")
    port = made.url.rsplit(":", 1)[1].rstrip("/")
    until(lambda: reached(guest, f"http://169.254.0.1:{port}/"))
    one.ip("address", "del", "169.254.0.1/16", "dev", BRIDGE)
    until(lambda: ping(guest, "169.254.0.1", 0.5))
