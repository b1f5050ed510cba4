"""Who is told of when a bond's slave gets or loses its link."""

import logging

from msgspec.structs import replace

from xenet.agent.failover import follow_links
from xenet.datapath.fake import FakeDatapath
from xenet.model.hidden import NIC, BondLinks
from xenet.plan.view import BondView, PortView, SwitchView, UplinkView, VLANView

MAC = "02:00:00:00:ee:00"
BOND = UplinkView("bond0", bond=BondView(("eth0", "eth1"), "active-backup", MAC, "eth0"))
PORTS = {f"vif{n}.0": PortView(f"vif{n}.0", f"vif-{n}", f"vm-{n}", 0, f"02:00:00:00:00:{n:02x}", up=n != 2) for n in (1, 2)}
GUEST = PortView("vif3.0", "vif-3", "vm-3", 0, "02:00:00:00:00:03")


def host() -> FakeDatapath:
    made = FakeDatapath([NIC(name, MAC, carrier=True) for name in ("eth0", "eth1", "eth2")])
    made.state = {
        "br-lan": SwitchView("br-lan", "lan", mac=MAC, uplink=BOND, ports=PORTS, addresses=("10.0.0.5/24",)),
        "br-dmz": SwitchView("br-dmz", "dmz", mac=MAC, uplink=UplinkView("bond0.42", vlan=VLANView("bond0", 42)), ports={"vif3.0": GUEST}),
        "br-wan": SwitchView("br-wan", "wan", mac="02:00:00:00:ee:02", uplink=UplinkView("eth2")),
    }
    return made


def pull(datapath: FakeDatapath, nic: str, carrier: bool = False) -> None:
    datapath.hardware[nic] = replace(datapath.hardware[nic], carrier=carrier)


def test_all_macs_behind_the_bond_are_announced_when_frames_go_another_way() -> None:
    datapath, told = host(), []
    for _ in range(2):
        follow_links(datapath, lambda device, macs: told.append((device, dict(macs))))
        assert told == [], "of a bond that is new here others tell"
    pull(datapath, "eth0")
    assert datapath.bonds() == [BondLinks("bond0", ("eth1",), ("eth1",))]
    follow_links(datapath, lambda device, macs: told.append((device, dict(macs))))
    assert told == [("bond0", {MAC: ["10.0.0.5"], "02:00:00:00:00:01": ()}), ("bond0.42", {MAC: [], "02:00:00:00:00:03": ()})]


def test_a_device_that_is_gone_by_then_is_no_trouble(caplog) -> None:
    def gone(device: str, _) -> None:
        raise OSError(19, "No such device")

    datapath = host()
    follow_links(datapath, gone)
    pull(datapath, "eth0")
    with caplog.at_level(logging.WARNING):
        follow_links(datapath, gone)
    assert "No such device" in caplog.text
