"""`auto`: the bridge where the kernel has what the pool needs, else Open vSwitch, with the reason."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from tests.plan.pools import HERE, Words, pool
from tests.plan.states import WORDS
from xenet.agent import backend
from xenet.agent.backend import Backend, choose, needs_of
from xenet.agent.replica import Replica
from xenet.datapath.openvswitch import programs


def lacking(monkeypatch: pytest.MonkeyPatch, **lacks: str) -> None:
    monkeypatch.setattr(backend, "_LACKS", {need: (lambda need=need: lacks.get(need, "")) for need in ("VLANs", "bonds", "GRE")})


def test_the_bridge_where_the_kernel_has_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, bonds="no bonds here")
    assert choose(()) == ("bridge", "the kernel has what the pool needs here (bridges)")
    assert choose(("VLANs",)) == ("bridge", "the kernel has what the pool needs here (VLANs)")


def test_open_vswitch_for_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, VLANs="no VLANs here", bonds="no bonds here")
    monkeypatch.setattr(programs, "find_programs", lambda: None)
    assert choose(("bonds",)) == ("openvswitch", "no bonds here")
    assert choose(("VLANs", "bonds")) == ("openvswitch", "no VLANs here; no bonds here")


def test_without_open_vswitch_the_bridge_and_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, VLANs="no VLANs here")

    def missing() -> None:
        raise programs.NoOpenVSwitch(programs.LACKING)

    monkeypatch.setattr(programs, "find_programs", missing)
    assert choose(("VLANs",)) == ("bridge", f"no VLANs here; {programs.LACKING}")


class Plane:
    """A datapath that can be opened, watched, taken down."""

    def __init__(self) -> None:
        self.left, self.right = os.pipe()
        self.down = False

    def fileno(self) -> int:
        return self.left

    def dismantle(self) -> None:
        self.down = True

    def observe(self) -> None: ...

    def close(self) -> None:
        os.close(self.left)
        os.close(self.right)


def started(folder: Path, monkeypatch: pytest.MonkeyPatch, option: str = "auto") -> Backend:
    monkeypatch.setattr(Backend, "_open", lambda self, name: Plane())
    made = Backend(folder, option, lambda vm: None, True)
    made.say()
    return made


def told(words: Words) -> Replica:
    replica = Replica()
    replica.state, replica.host = pool({"networks": {"lan": {}, "dmz": {}}, **words}), HERE
    return replica


VLAN: Words = {"pifs": {"eth0": {"network": "lan"}}, "vlans": {"eth0.7": {"network": "dmz"}}}


def test_at_its_first_start_a_host_learns_of_the_pool_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, VLANs="no VLANs here")
    monkeypatch.setattr(programs, "find_programs", lambda: None)
    with closing(started(tmp_path, monkeypatch)) as made:
        assert made.name == "bridge"
        assert made.follow(told(VLAN)), "the server is to be told"
        assert made.name == "openvswitch"
        assert not made.follow(told(VLAN))
    with closing(started(tmp_path, monkeypatch)) as made:
        assert made.name == "openvswitch", "a restart knows it"


def test_what_each_state_needs() -> None:
    needs = {name: needs_of(told(WORDS[name])) for name in ("two NICs", "VLANs", "a bond otherwise, a VLAN on it", "a tunnel", "a tunnel by GRE")}
    assert list(needs.values()) == [(), ("VLANs",), ("VLANs", "bonds"), (), ("GRE",)]


def test_later_it_stays_what_it_is_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, VLANs="no VLANs here")
    monkeypatch.setattr(programs, "find_programs", lambda: None)
    for option in ("auto", "bridge"):
        folder = tmp_path / option
        folder.mkdir()
        with closing(started(folder, monkeypatch, option)) as made:
            assert not made.follow(told({})) if option == "auto" else True
            assert not made.follow(told(VLAN))
            assert made.name == "bridge"


@pytest.mark.parametrize("lack", ["", "no VLANs here"])
def test_a_choice_is_always_told_and_what_was_asked_for_only_to_who_wants_to_hear_more(
    lack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lacking(monkeypatch, VLANs=lack)
    monkeypatch.setattr(programs, "find_programs", lambda: None)
    with closing(started(tmp_path, monkeypatch)) as made:
        made.follow(told(VLAN))
    with closing(started(tmp_path, monkeypatch)) as made:
        last = f"datapath {made.name}: {lack or 'the kernel has what the pool needs here (VLANs)'}"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"][-1] == last
    caplog.clear()
    started(tmp_path, monkeypatch, "bridge").close()
    assert caplog.records == []
