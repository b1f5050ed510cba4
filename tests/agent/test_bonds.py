"""Who is told of when a bond has come, or is no more."""

import asyncio
from functools import partial

import pytest
from msgspec.structs import replace

from tests.agent.test_failover import GUEST, MAC, PORTS, host, pull
from xenet.agent import bonds
from xenet.agent.bonds import Bonds
from xenet.datapath.fake import FakeDatapath
from xenet.plan.view import BondView, UplinkView, VLANView


def apart(datapath: FakeDatapath, nic: str) -> None:
    """All that was on the bond is on this NIC."""
    datapath.state["br-lan"] = replace(datapath.state["br-lan"], uplink=UplinkView(nic))
    datapath.state["br-dmz"] = replace(datapath.state["br-dmz"], uplink=UplinkView(f"{nic}.42", vlan=VLANView(nic, 42)))


def test_all_behind_a_bond_that_has_come_or_is_gone_are_told_of_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bonds, "PAUSES", (0.0, 0.0))
    datapath, told = host(), []

    async def run() -> None:
        follower = Bonds(datapath, lambda device, macs: told.append((device, dict(macs))))
        for happens in (lambda: None, partial(apart, datapath, "eth0")):
            happens()
            follower.follow()
            assert told == [("br-lan", {MAC: ["10.0.0.5"]}), ("br-dmz", {MAC: []})], "the host itself"
            first = [(device, frames[0][6:12].hex(":")) for device, frames in datapath.spoken]
            assert first == [("vif1.0", PORTS["vif1.0"].mac), ("vif3.0", GUEST.mac)], "a port that is down has nobody"
            follower.follow()
            await asyncio.sleep(0.05)
            assert len(datapath.spoken) == 3 * len(first), "at once, and as often as there are pauses"
            told.clear()
            datapath.spoken.clear()
        follower.close()

    asyncio.run(run())


def test_who_was_being_told_of_is_so_further_when_the_next_bond_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bonds, "PAUSES", (0.0,))
    datapath, told = host(), []
    other = UplinkView("bond1", bond=BondView(("eth2", "eth3"), "active-backup", MAC))
    datapath.hardware["eth3"] = datapath.hardware["eth2"]

    async def run() -> None:
        follower = Bonds(datapath, lambda device, macs: told.append(device))
        follower.follow()
        datapath.state["br-wan"] = replace(datapath.state["br-wan"], uplink=other)
        follower.follow()
        told.clear()
        await asyncio.sleep(0.05)
        assert told == ["br-lan", "br-dmz", "br-wan"]
        follower.close()

    asyncio.run(run())


def test_a_link_that_is_lost_is_no_bond_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bonds, "PAUSES", ())
    datapath = host()
    follower = Bonds(datapath, lambda device, macs: None)
    follower.follow()
    datapath.spoken.clear()
    for nic in ("eth0", "eth1"):
        pull(datapath, nic)
    follower.follow()
    assert datapath.spoken == []


def test_what_is_gone_by_then_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bonds, "PAUSES", ())
    datapath = host()

    def gone(device: str, _: object) -> None:
        raise OSError(19, "No such device")

    Bonds(datapath, gone).follow()
    assert [device for device, _ in datapath.spoken] == ["vif1.0", "vif3.0"]
