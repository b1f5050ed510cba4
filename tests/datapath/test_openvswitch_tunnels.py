"""A tunnelled network's switch on Open vSwitch: an agent that dies on the way to it or from it, names that somebody else has."""

from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from msgspec.structs import replace

from tests.datapath.bridge_host import port, switch
from tests.datapath.switch_host import SwitchHost, switch_hosts
from xenet.datapath.netlink import Request, Socket
from xenet.plan.diff import diff_host
from xenet.plan.view import HostView, SwitchView, TunnelView, UplinkView

pytestmark = pytest.mark.kernel
TUNNEL = TunnelView("gre", 7, "192.0.2.1", ("192.0.2.2", "192.0.2.3"))
OVER = switch(0, mac="02:00:00:00:77:00", mtu=1458, uplink=UplinkView("tunnel0", 1458, tunnel=TUNNEL))


class Killed(Exception):
    pass


@pytest.fixture
def host() -> Iterator[SwitchHost]:
    with switch_hosts() as made:
        yield made


def die_on_the_way_to(host: SwitchHost, sends: int, *wanted: SwitchView) -> bool:
    """After so many sends to the kernel; another agent starts. Whether it did not get to the end."""
    left, send = iter(range(sends)), Socket._send

    def counted(sock: Socket, flags: int, requests: Sequence[Request]) -> int:
        if next(left, None) is None:
            raise Killed
        return send(sock, flags, requests)

    died = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Socket, "_send", counted)
        try:
            host.reach(*wanted)
            host.ns(host.datapath.reap)
        except Killed:
            died = True
    host.restart()
    return died


def test_an_agent_dies_at_each_step_of_a_tunnels_life(host: SwitchHost) -> None:
    """The next one goes on, or takes back."""
    for before, after in (((), (OVER,)), ((OVER,), ())):
        for sends in count():
            host.reach(*before)
            host.ns(host.datapath.reap)
            died = die_on_the_way_to(host, sends, *after)
            host.reach(*(after if sends % 2 else before))
            assert host.ns(host.datapath.reap) == 0
            there = {"tunnel0", "tunnel0-far", "hub0", "xapi0"} & host.names()
            assert len(there) == 4 * len(after if sends % 2 else before)
            if not died:
                break
    host.reach()
    assert host.ns(host.datapath.reap) == 0
    assert host.names() == {"lo", "eth0"}


@pytest.mark.parametrize("name", ["tunnel0", "tunnel0-far", "t0-c0000202", "hub0"])
def test_what_has_a_tunnels_name_already_is_left_alone(host: SwitchHost, name: str) -> None:
    host.reach(switch(1, port(1)))
    host.vsctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev")
    if name == "hub0":
        host.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")
    else:
        host.vsctl("add-port", "theirs", name, "--", "set", "interface", name, "type=internal")
    host.ns(host.datapath.refresh)
    failures = host.do(*diff_host(HostView({OVER.bridge: OVER, "xapi1": switch(1, port(1))}), HostView(host.datapath.switches())))
    assert len(failures) == 1
    assert name in failures[0].text
    assert failures[0].step.bridge == "xapi0"
    assert name in host.names() | set(host.vsctl("list-ports", "theirs").split())
    assert host.datapath.switches()["xapi1"].ports.keys() == {"vif1.0"}, "another network's is not touched"


def test_others_tunnels_in_the_database_stay(host: SwitchHost) -> None:
    host.reach(OVER)
    host.vsctl("add-port", "hub0", "theirs", "--", "set", "interface", "theirs", "type=gre", "options:remote_ip=192.0.2.9", "options:key=9")
    host.vsctl("set", "port", "t0-c0000202", "external_ids:note=mine")
    host.ns(host.datapath.refresh)
    host.reach(replace(OVER, uplink=UplinkView("tunnel0", 1458, tunnel=replace(TUNNEL, peers=("192.0.2.2",)))))
    assert set(host.vsctl("list-ports", "hub0").split()) == {"t0-c0000202", "theirs", "tunnel0-far"}
    assert host.vsctl("get", "port", "t0-c0000202", "external_ids:note") == "mine"
