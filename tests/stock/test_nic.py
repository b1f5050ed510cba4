"""NICs with a real driver (Intel's e1000, emulated): what they say of themselves, how large a frame they take, and what they do as they are told."""

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from tests.datapath.bridge_host import switch
from tests.e2e.world import until
from tests.netns import Namespace, namespaces
from xenet.datapath.bridge import BridgeDatapath
from xenet.model.hidden import NIC
from xenet.plan.diff import diff_host
from xenet.plan.ethtool import asked_of
from xenet.plan.view import HostView, SwitchView, UplinkView

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def found() -> list[str]:
    """The NICs of this driver that are in the first namespace."""
    nics = Path("/sys/bus/pci/drivers/e1000").glob("*/net/*")
    return sorted(path.name for path in nics)


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    """With nic0, whose cable leads to the other NIC."""
    subprocess.run(["modprobe", "e1000"], check=True)
    until(lambda: len(found()) == 2)
    first, second = found()
    subprocess.run(["ip", "link", "set", second, "up"], check=True)
    with namespaces(1) as (made,):
        subprocess.run(["ip", "link", "set", first, "name", "nic0", "netns", f"/proc/{os.getpid()}/fd/{made.fd}"], check=True)
        made.ip("link", "set", "nic0", "up")
        yield made
    until(lambda: len(found()) == 2)


@pytest.fixture
def datapath(host: Namespace) -> Iterator[BridgeDatapath]:
    made: BridgeDatapath = host(BridgeDatapath, lambda vm: None)
    yield made
    host(made.do, diff_host(HostView(), HostView(made.switches())))
    made.close()


def reach(host: Namespace, datapath: BridgeDatapath, wanted: SwitchView) -> list[str]:
    """What failed."""
    view = HostView({wanted.bridge: wanted})
    datapath.heed(wanted.bridge, asked_of(wanted))
    return [failure.text for failure in host(datapath.do, diff_host(view, HostView(datapath.switches())))]


def on_nic(mtu: int = 1500, /, **settings: str) -> SwitchView:
    return structs.replace(switch(0, mtu=mtu), uplink=UplinkView("nic0", mtu, ethtool={"nic0": settings} if settings else {}))


def facts(datapath: BridgeDatapath) -> NIC:
    datapath.refresh()
    (nic,) = datapath.nics(["nic0"])
    return nic


def test_what_it_says_of_itself(host: Namespace, datapath: BridgeDatapath) -> None:
    until(lambda: facts(datapath).carrier)
    nic = facts(datapath)
    assert (nic.vendor_id, nic.device_id, nic.speed, nic.duplex, nic.capabilities) == ("8086", "100e", 1000, True, ())
    assert nic.pci_bus_path.startswith("0000:")
    assert nic.max_mtu == 16110


def test_it_takes_jumbo_frames_and_refuses_larger_ones_by_name(host: Namespace, datapath: BridgeDatapath) -> None:
    assert reach(host, datapath, on_nic(9000)) == []
    assert facts(datapath).mtu == 9000
    assert reach(host, datapath, on_nic(16111)) == ["MTU 16111 is more than nic0 takes, which is 16110"]
    assert reach(host, datapath, on_nic()) == []


def test_it_does_as_it_is_told(host: Namespace, datapath: BridgeDatapath) -> None:
    assert reach(host, datapath, on_nic(gro="off", tso="off", rx="on")) == []
    said = host.command("ethtool", "-k", "nic0")
    for line in ("generic-receive-offload: off", "tcp-segmentation-offload: off", "rx-checksumming: on"):
        assert line in said
    assert diff_host(HostView({"xapi0": on_nic(gro="off", tso="off", rx="on")}), HostView(datapath.switches())) == []


def test_its_link_is_set(host: Namespace, datapath: BridgeDatapath, caplog: pytest.LogCaptureFixture) -> None:
    """The emulation keeps its link at 1,000 Mbit/s whatever the driver says: what cannot be had is said once, and is no failure."""
    for settings, said in (
        ({"autoneg": "on", "advertise": "0x20"}, "Advertised link modes:  1000baseT/Full"),
        ({"speed": "1000", "duplex": "full", "autoneg": "on"}, "Auto-negotiation: on"),
        ({"speed": "100", "duplex": "full", "autoneg": "off"}, "Auto-negotiation: off"),
    ):
        with caplog.at_level(logging.WARNING, "xenet.datapath"):
            assert reach(host, datapath, on_nic(**settings)) == []
            until(lambda: facts(datapath).carrier, 60)
            assert said in host.command("ethtool", "nic0")
            assert diff_host(HostView({"xapi0": on_nic(**settings)}), HostView(datapath.switches())) == []
    assert [record.message for record in caplog.records] == ["nic0 does not do speed 100: it stays 1000"]
