"""`auto`: the bridge where the kernel has what the pool needs, else Open vSwitch, with the reason."""

import pytest

from xenet.agent import backend
from xenet.agent.backend import choose
from xenet.datapath.openvswitch import programs


def lacking(monkeypatch: pytest.MonkeyPatch, **lacks: str) -> None:
    monkeypatch.setattr(backend, "_LACKS", {need: (lambda need=need: lacks.get(need, "")) for need in ("VLANs", "bonds")})


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
