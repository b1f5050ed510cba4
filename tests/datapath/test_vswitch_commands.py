"""The commands that a plan shows on Open vSwitch, said to a real one: they make what the datapath makes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.datapath.bridge_host import external, port, switch
from tests.datapath.switch_host import SwitchHost, switch_hosts
from xenet.datapath.openvswitch.programs import find_programs
from xenet.plan.diff import diff_host
from xenet.plan.steps import DetachUplink, SetMirrors, SetPort, SetSwitch, Step
from xenet.plan.view import HostView, MirrorView, TunnelView, UplinkView, VLANView

pytestmark = pytest.mark.kernel


@pytest.fixture
def host() -> Iterator[SwitchHost]:
    with switch_hosts() as made:
        yield made


def say(host: SwitchHost, *steps: Step) -> None:
    """As an administrator's shell does it."""
    programs = find_programs()
    path = f"{Path(programs.vsctl).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    for step in steps:
        command = host.datapath.command(step)
        environment = {**programs.environment, "PATH": path, "OVS_RUNDIR": str(host.daemons.folder)}
        done = host.ns(subprocess.run, ["bash", "-c", command], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), command


def mirrors(host: SwitchHost) -> str:
    columns = "name,output_port,select_all,select_src_port,select_dst_port,select_vlan"
    return host.vsctl(f"--columns={columns}", "list", "mirror")


def limits(host: SwitchHost) -> tuple[list[str], str]:
    """The token bucket and the redirections, and what is the port."""
    bucket = host.ns.command("tc", "qdisc", "show", "dev", "leg1.0", "root").split(" rate ")[1]
    filters = [host.ns.command("tc", "filter", "show", "dev", device, "ingress") for device in ("vif1.0", "leg1.0")]
    (interface,) = host.vsctl("get", "port", "vif1.0", "interfaces").strip("[]").split()
    return [bucket, *(text.split("mirred")[1].split("index")[0] for text in filters)], host.vsctl("get", "interface", interface, "name")


@pytest.mark.parametrize("vlan", [False, True])
def test_mirrors(host: SwitchHost, vlan: bool) -> None:
    below = external(host)
    own = switch(1, port(1), port(2), uplink=UplinkView("eth0.42", vlan=VLANView("eth0", 42))) if vlan else None
    host.reach(below, own) if own else host.reach(external(host, port(1), port(2)))
    bridge = "xapi1" if vlan else "xapi0"
    want = (MirrorView("vif2.0", everything=True, sources=("vif1.0",)),)
    come = SetMirrors(object="net", bridge=bridge, mirrors=want)
    gone = SetMirrors(object="net", bridge=bridge, mirrors=(), now=want)
    host.ok(come)
    made = mirrors(host)
    assert "xenet-vif2.0" in made
    assert made.endswith("[42]" if vlan else "[0]")
    say(host, gone)
    assert mirrors(host) == ""
    say(host, come)
    assert mirrors(host) == made


def test_limits(host: SwitchHost) -> None:
    host.reach(switch(0, port(1)))
    limited = replace(port(1), rate=102400)
    come, gone = (SetPort(object="vif", bridge="xapi0", port=each, rate=now) for each, now in ((limited, 0), (port(1), 102400)))
    host.ok(come)
    made = limits(host)
    assert made[1] == "lim1.0"
    host.ok(gone)
    host.ns(host.datapath.reap)
    say(host, come)
    assert limits(host) == made
    say(host, SetPort(object="vif", bridge="xapi0", port=replace(limited, rate=204800), rate=102400))
    assert "1638Kbit" in host.ns.command("tc", "qdisc", "show", "dev", "leg1.0")
    say(host, replace(gone, rate=204800))
    assert "leg1.0" not in host.names()
    assert "vif1.0" in host.vsctl("list-ifaces", "xapi0").split()


def test_switches_and_what_they_lead_out_by(host: SwitchHost) -> None:
    vlan = switch(1, mac=host.mac, mtu=1400, uplink=UplinkView("eth0.42", 1400, vlan=VLANView("eth0", 42)))
    tunnel = TunnelView("gre", 7, "192.0.2.1", ("192.0.2.2", "192.0.2.3"))
    over = switch(2, mac="02:00:00:00:77:00", mtu=1458, uplink=UplinkView("tunnel0", 1458, tunnel=tunnel))
    want = HostView({each.bridge: each for each in (external(host), vlan, over)})
    say(host, *diff_host(want, HostView({})))
    assert {bridge: set(host.vsctl("list-ports", bridge).split()) for bridge in host.vsctl("list-br").split()} == {
        "xapi0": {"eth0"},
        "xapi1": set(),
        "xapi2": {"tunnel0"},
        "hub0": {"tunnel0-far", "t0-c0000202", "t0-c0000203"},
    }
    assert host.vsctl("br-to-vlan", "xapi1") == "42"
    assert host.vsctl("get", "port", "t0-c0000202", "protected") == "true"
    assert [host.json("link", "show", name)[0]["mtu"] for name in ("xapi0", "xapi1", "xapi2")] == [1500, 1400, 1458]
    assert [host.json("link", "show", name)[0]["address"] for name in ("xapi0", "xapi1")] == [host.mac] * 2
    say(host, SetSwitch(object="net", switch=replace(external(host), fail_mode="secure", disable_in_band="true", snooping=True, mtu=1400)))
    assert host.vsctl("get", "bridge", "xapi0", "fail_mode", "mcast_snooping_enable").split() == ["secure", "true"]
    say(host, SetSwitch(object="net", switch=external(host)))
    assert host.vsctl("get", "bridge", "xapi0", "fail_mode", "mcast_snooping_enable").split() == ["[]", "false"]
    assert "disable-in-band" not in host.vsctl("get", "bridge", "xapi0", "other_config")
    host.ofctl("del-flows", "xapi0")
    say(host, SetSwitch(object="net", switch=external(host), learning=False))
    assert "actions=NORMAL" in host.ofctl("dump-flows", "xapi0")
    say(host, DetachUplink(object="net", bridge="xapi2", device="tunnel0", made=True, ends=("t0-c0000202", "t0-c0000203")))
    assert {"hub0", "tunnel0"}.isdisjoint(host.names())
    say(host, *diff_host(HostView({}), HostView({name: replace(each, uplink=None) for name, each in want.switches.items()})))
    assert host.vsctl("list-br") == ""
