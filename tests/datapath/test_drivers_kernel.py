"""What drivers are told, on real devices, with `ethtool` as the judge: NICs, bridges and ports; what others change, and what a device cannot do."""

import logging
import re
from collections.abc import Iterator, Mapping

import pytest
from msgspec import structs

from tests.datapath.bridge_host import Host, create, external, hosts, needs_tap, port, switch
from tests.netns import namespaces
from xenet.datapath.drivers import Drivers
from xenet.datapath.ethtool import NAMES, same_modes
from xenet.datapath.kernel import Kernel
from xenet.plan.ethtool import asked_of, settings_of
from xenet.plan.view import SwitchView, UplinkView

pytestmark = pytest.mark.kernel
LONG = {
    "rx": "rx-checksumming",
    "tx": "tx-checksumming",
    "sg": "scatter-gather",
    "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload",
    "lro": "large-receive-offload",
}
"""What `ethtool -k` calls them."""


@pytest.fixture
def host() -> Iterator[Host]:
    with hosts() as made:
        yield made


def said(host: Host, device: str) -> dict[str, str]:
    """What ethtool says of these features."""
    found = dict(re.findall(r"^([a-z0-9-]+): (on|off)", host.ns.command("ethtool", "-k", device), re.MULTILINE))
    return {word: found[name] for word, name in LONG.items() if name in found}


def told(settings: Mapping[str, str], **fields: object) -> SwitchView:
    """An external network whose NIC is told this."""
    return structs.replace(switch(0), uplink=UplinkView("eth0", ethtool={"eth0": settings}), **fields)


def seen(host: Host) -> Mapping[str, Mapping[str, str]]:
    host.datapath.refresh()
    return asked_of(host.datapath.switches()["xapi0"])


@pytest.mark.parametrize("word", ["rx", "tx", "sg", "tso", "gso", "gro"])
def test_a_nic_does_as_it_is_told(host: Host, word: str) -> None:
    for value in ("off", "on", "off"):
        host.reach(told({word: value}))
        assert said(host, "eth0")[word] == value
        assert seen(host) == {"eth0": {word: value}}


def test_only_what_is_asked_for_is_touched(host: Host) -> None:
    before = host.ns.command("ethtool", "-k", "eth0")
    host.reach(external(host))
    assert host.ns.command("ethtool", "-k", "eth0") == before
    host.reach(told({"gso": "on"}))
    assert host.ns.command("ethtool", "-k", "eth0") == before
    host.reach(told({"gro": "on"}))
    others = [line for line in before.splitlines() if "generic-receive" not in line]
    assert [line for line in host.ns.command("ethtool", "-k", "eth0").splitlines() if "generic-receive" not in line] == others


def test_what_somebody_else_changes_is_seen_and_mended(host: Host) -> None:
    wanted = told({"gro": "on", "tso": "off"})
    host.reach(wanted)
    host.datapath.refresh()
    host.ns.command("ethtool", "-K", "eth0", "gro", "off")
    assert "xapi0" in host.datapath.refresh() or "eth0" in host.datapath.refresh()
    assert seen(host) == {"eth0": {"gro": "off", "tso": "off"}}
    host.reach(wanted)
    assert (said(host, "eth0")["gro"], said(host, "eth0")["tso"]) == ("on", "off")
    host.restart()
    host.reach(wanted)


def test_bridges_and_ports_are_told_too(host: Host) -> None:
    view = structs.replace(port(1), ethtool={"tx": "off"})
    wanted = switch(0, view, port(2), ethtool={"tso": "off"})
    host.reach(wanted)
    assert (said(host, "vif1.0")["tx"], said(host, "vif2.0")["tx"]) == ("off", "on")
    assert said(host, "xapi0")["tso"] == "off"
    host.ns.command("ethtool", "-K", "vif1.0", "tx", "on")
    host.ns.command("ethtool", "-K", "xapi0", "tso", "on")
    assert seen(host) == {"xapi0": {"tso": "on"}, "vif1.0": {"tx": "on"}}
    host.reach(wanted)
    assert (said(host, "vif1.0")["tx"], said(host, "xapi0")["tso"]) == ("off", "off")
    host.reach(switch(0, structs.replace(view, ethtool={"tx": "on", "gso": "off"}), port(2)))
    assert (said(host, "vif1.0")["tx"], said(host, "vif1.0")["gso"]) == ("on", "off")
    assert said(host, "xapi0")["tso"] == "off", "nobody asks any more, so it stays"


def test_what_a_device_cannot_do_is_said_once_and_is_no_failure(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A veth has no ufo and its link is as it is; and in a bridge the kernel lets nobody have lro."""
    asked = {"ufo": "on", "lro": "on", "speed": "100", "duplex": "half"}
    with caplog.at_level(logging.WARNING, "xenet.datapath"):
        host.reach(told(asked))
        host.datapath.observe()
        host.reach(told(asked, up=False))
        host.reach(told(asked))
    assert seen(host) == {"eth0": asked}
    words = [re.search(r"eth0 does not (?:do|take) (\w+)", record.message) for record in caplog.records]
    assert sorted(word[1] for word in words if word) == ["duplex", "lro", "speed", "ufo"]


def test_lro_is_off_in_a_bridge_whoever_asks(host: Host) -> None:
    """What XenServer does itself, the kernel does for us."""
    host.reach(told({"lro": "on"}))
    assert said(host, "eth0")["lro"] == "off"


@needs_tap
def test_a_link_is_set(host: Host) -> None:
    """On a tap, whose link is whatever somebody says."""
    host.ns.ip("tuntap", "add", "nic0", "mode", "tap")

    def asked(**settings: str) -> SwitchView:
        return structs.replace(switch(0), uplink=UplinkView("nic0", ethtool={"nic0": settings}))

    for speed, duplex in (("1000", "full"), ("100", "half")):
        host.reach(asked(speed=speed, duplex=duplex, autoneg="off"))
        found = host.ns.command("ethtool", "nic0")
        assert (f"Speed: {speed}Mb/s" in found, f"Duplex: {duplex.title()}" in found) == (True, True)
    host.ns.command("ethtool", "-s", "nic0", "speed", "10")
    host.datapath.observe()  # a link's settings come without a notification
    wanted = asked(speed="100", duplex="half")
    host.datapath.heed("xapi0", asked_of(wanted))
    assert seen(host)["nic0"] == {"speed": "10", "duplex": "half"}
    host.reach(wanted)
    assert "Speed: 100Mb/s" in host.ns.command("ethtool", "nic0")


def test_masks_of_speeds_that_are_the_same() -> None:
    """Autoneg, the kind of plug and pauses are told with the speeds, whether somebody asked or not (e1000 does so)."""
    assert same_modes("0x20", "0xe0")
    assert same_modes("0x20", "0x60e0")
    assert not same_modes("0x20", "0xe1")
    assert not same_modes("0x20", "0xc0")


def test_every_word_names_features_that_the_kernel_has() -> None:
    with namespaces(1) as (alone,):
        drivers = alone(Drivers)
        kernel = alone(Kernel)
        kernel.observe()
        lo = kernel.table.link("lo")
        assert lo is not None
        drivers.seen(lo, {"gro": "on"})
        assert all(drivers._masks[word] for word in NAMES if word != "ufo")  # ufo left the kernel, and came back for tunnels alone
        drivers.close()
        kernel.close()


def test_a_port_whose_device_vanishes_meanwhile_is_a_failure(host: Host) -> None:
    view = structs.replace(port(1), ethtool=settings_of({"ethtool-tx": "off"}, ("tx",)))
    host.reach(switch(0))
    host.ok(create(view))
    assert said(host, "vif1.0")["tx"] == "off"
