"""Who is told of when a bond is no more."""

import asyncio

import pytest
from msgspec.structs import replace

from tests.agent.test_failover import GUEST, MAC, PORTS, host, pull
from xenet.agent import unbonded
from xenet.agent.unbonded import Unbonded
from xenet.datapath.fake import FakeDatapath
from xenet.plan.view import UplinkView, VLANView


def apart(datapath: FakeDatapath, nic: str) -> None:
    """All that was on the bond is on this NIC."""
    datapath.state["br-lan"] = replace(datapath.state["br-lan"], uplink=UplinkView(nic))
    datapath.state["br-dmz"] = replace(datapath.state["br-dmz"], uplink=UplinkView(f"{nic}.42", vlan=VLANView(nic, 42)))


def test_all_that_were_on_the_bond_are_told_of_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unbonded, "PAUSES", (0.0, 0.0))
    datapath, told = host(), []

    async def run() -> None:
        follower = Unbonded(datapath, lambda device, macs: told.append((device, dict(macs))))
        follower.follow()
        assert (told, datapath.spoken) == ([], []), "it is there"
        apart(datapath, "eth0")
        follower.follow()
        assert told == [("eth0", {MAC: ["10.0.0.5"]}), ("eth0.42", {MAC: []})]
        first = [(device, frames[0][6:12].hex(":")) for device, frames in datapath.spoken]
        assert first == [("vif1.0", PORTS["vif1.0"].mac), ("vif3.0", GUEST.mac)], "a port that is down has nobody"
        follower.follow()
        await asyncio.sleep(0.05)
        assert len(datapath.spoken) == 3 * len(first), "at once, and as often as there are pauses"
        follower.close()

    asyncio.run(run())


def test_a_link_that_is_lost_is_no_bond_that_is_gone() -> None:
    datapath = host()
    follower = Unbonded(datapath, lambda device, macs: None)
    follower.follow()
    for nic in ("eth0", "eth1"):
        pull(datapath, nic)
    follower.follow()
    assert datapath.spoken == []


def test_what_is_gone_by_then_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unbonded, "PAUSES", ())
    datapath = host()

    def gone(device: str, _: object) -> None:
        raise OSError(19, "No such device")

    async def run() -> None:
        follower = Unbonded(datapath, gone)
        follower.follow()
        apart(datapath, "eth1")
        follower.follow()

    asyncio.run(run())
    assert [device for device, _ in datapath.spoken] == ["vif1.0", "vif3.0"]
