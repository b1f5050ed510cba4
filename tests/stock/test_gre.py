"""Tunnels by GRE between two hosts with bridges and one with Open vSwitch: a device for each peer, isolated, whole again when somebody breaks it."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_mtu import passes
from tests.e2e.test_pif_life import refusal
from tests.e2e.test_tunnels import Site, built
from tests.e2e.test_tunnels_openvswitch import IPV4, carries, transfers
from tests.e2e.world import capture, links, until
from tests.netns import Namespace, ping

pytestmark = [pytest.mark.kernel, pytest.mark.stock]
ENDS = {"t0-c0000202", "t0-c0000203"}
"""Those of host1."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    subprocess.run(["modprobe", "openvswitch"], check=True)
    with built(tmp_path_factory.mktemp("pool"), "gre", ("bridge", "bridge", "openvswitch")) as made:
        yield made


def whole(host: Namespace) -> bool:
    """Whether each peer has its device, in the bridge, up, isolated."""
    return {name for name, link in links(host).items() if name in ENDS and isolated(link) and "UP" in link["flags"]} == ENDS


def isolated(link: dict[str, Any]) -> bool:
    return link.get("master") == "xapi0" and bool(link["linkinfo"].get("info_slave_data", {}).get("isolated"))


def test_guests_of_both_data_planes_are_on_one_network(site: Site) -> None:
    one, two, three = (site.guest(number) for number in (1, 2, 3))
    with capture(site.hosts["host1"], "eth0") as wire:
        assert all(ping(one, address) for address in ("10.1.0.2", "10.1.0.3"))
        assert all(passes(one, address, 1458) for address in ("10.1.0.2", "10.1.0.3")), "all that the overlay has room for, in one frame"
    packets = [frame[14:] for frame in wire if frame[12:14] == IPV4]
    assert packets
    assert all(carries("gre", 1, packet) for packet in packets), "nothing goes bare"
    assert max(map(len, wire)) == 1514
    assert not any(passes(one, address, 1459) for address in ("10.1.0.2", "10.1.0.3"))
    assert ping(two, "10.1.0.3")
    assert passes(three, "10.1.0.1", 1458)
    for sender, receiver, address in ((one, two, "10.1.0.2"), (two, three, "10.1.0.3"), (three, one, "10.1.0.1")):
        assert transfers(sender, receiver, address, 1_000_000)
    with capture(three, "eth0") as heard, capture(two, "eth0") as also:
        one.command("arping", "-q", "-U", "-c", "1", "-I", "eth0", "10.1.0.1")
    for frames in (heard, also):
        assert sum(frame[:6] == b"\xff" * 6 for frame in frames) == 1, "flooded once to each: nobody passes it on"
    assert whole(site.hosts["host1"])
    assert not any(isolated(link) for name, link in links(site.hosts["host1"]).items() if name.startswith("vif"))
    assert site.api.tunnel.get_status(site.tunnels["host1"]) == {"active": "true", "key": "1"}


def test_what_is_broken_or_killed_is_whole_again(site: Site) -> None:
    host, (vm,) = site.hosts["host1"], site.api.VM.get_by_name_label("vm1")
    one = site.pool.inside(vm, "host1")
    site.pool.kill("host1")
    assert ping(one, "10.1.0.2"), "frames flow without the agent"
    host.ip("link", "del", "t0-c0000202")
    site.pool.start_agent("host1", extra=("--datapath", "bridge"))
    until(lambda: whole(host))
    for harm in (
        ("ip", "link", "del", "t0-c0000202"),
        ("ip", "link", "set", "t0-c0000203", "down"),
        ("ip", "link", "set", "t0-c0000203", "nomaster"),
        ("ip", "link", "set", "t0-c0000202", "type", "gretap", "key", "77", "local", "192.0.2.1", "remote", "192.0.2.2"),
        ("bridge", "link", "set", "dev", "t0-c0000202", "isolated", "off"),
    ):
        host.command(*harm)
        until(lambda: whole(host))
        assert all(ping(one, address, 5.0) for address in ("10.1.0.2", "10.1.0.3")), harm
    assert json.loads(host.ip("-j", "-d", "link", "show", "t0-c0000202"))[0]["linkinfo"]["info_data"]["ikey"] == "0.0.0.1"
    assert site.api.host.get_drift(site.pool.host("host1")) == []


def test_others_devices_are_left_alone(site: Site) -> None:
    host, other = site.hosts["host1"], site.pool.network("another")
    key = max(int(site.api.tunnel.get_status(tunnel)["key"]) for tunnel in site.api.tunnel.get_all()) + 3
    host.ip("link", "add", "theirs", "type", "gretap", "key", str(key), "local", "192.0.2.1", "remote", "192.0.2.2")
    made = site.api.tunnel.create(site.transport["host2"], other, "gre")
    code, _, text = refusal(site.api.tunnel.create, site.transport["host1"], other, "gre")
    assert (code, text) == ("PIF_CONFIGURATION_ERROR", f"GRE with key {key} to 192.0.2.2 is on another device, which is not xenet's")
    assert "theirs" in links(host)
    host.ip("link", "del", "theirs")
    site.api.tunnel.destroy(made)


def test_an_end_moves_changes_its_data_plane_and_goes(site: Site) -> None:
    host, (vm,) = site.hosts["host1"], site.api.VM.get_by_name_label("vm1")
    one = site.pool.inside(vm, "host1")
    for backend in ("openvswitch", "bridge"):
        site.api.host.set_network_backend(site.pool.host("host2"), backend)
        until(lambda: ping(one, "10.1.0.2", 1.0))
        assert ("t1-c0000201" in links(site.hosts["host2"])) == (backend == "bridge")
    site.api.PIF.reconfigure_ip(site.transport["host2"], "Static", "192.0.2.22", "255.255.255.0", "", "")
    until(lambda: {name for name in links(host) if name.startswith("t0-")} == {"t0-c0000216", "t0-c0000203"})
    until(lambda: ping(one, "10.1.0.2", 1.0))
    for number in (1, 2, 3):
        site.api.VM.hard_shutdown(site.api.VM.get_by_name_label(f"vm{number}")[0])
    for tunnel in site.tunnels.values():
        site.api.tunnel.destroy(tunnel)
    for each in site.hosts.values():
        until(lambda: not {name for name in links(each) if name.startswith(("t0-", "t1-", "t2-", "xapi", "tunnel"))})  # noqa: B023
