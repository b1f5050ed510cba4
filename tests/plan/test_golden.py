"""The plan on paper: golden/<case>/ has a pool's state, what the host looks like, and the steps between the two as people read them.

`pytest tests/plan --update-golden` writes the steps anew; the difference is then read, as any change of the program is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import yaml

from tests.plan.pools import HERE, pool
from tests.plan.whole import compile_host
from xenet.plan.diff import diff_host
from xenet.plan.steps import as_text
from xenet.plan.view import GuestView, HostView, PortView, SwitchView

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(folder.name for folder in GOLDEN.iterdir())


def observed_view(said: Mapping[str, Any]) -> HostView:
    """From observed.yaml: lists of switches (their ports a list too) and guests, with the fields of the views."""
    switches = [{**switch, "ports": {port["device"]: port for port in switch.get("ports", ())}} for switch in said.get("switches", ())]
    views = msgspec.convert(switches, list[SwitchView])
    guests = msgspec.convert(said.get("guests", []), list[GuestView])
    return HostView({view.bridge: view for view in views}, {guest.vm: guest for guest in guests})


@pytest.mark.parametrize("case", CASES)
def test_golden_plan(case: str, request: pytest.FixtureRequest) -> None:
    folder = GOLDEN / case
    said = yaml.decode((folder / "observed.yaml").read_bytes())
    wanted = compile_host(pool(yaml.decode((folder / "state.yaml").read_bytes())), HERE)
    borrowed = {device: tuple(addresses) for device, addresses in said.get("borrowed", {}).items()}
    steps = as_text(diff_host(wanted, observed_view(said), borrowed)) + "\n"
    expected = folder / "steps.txt"
    if request.config.getoption("--update-golden"):
        expected.write_text(steps)
    assert steps == expected.read_text()


def test_every_part_of_a_view_can_be_written_in_a_case() -> None:
    """Otherwise a case would say less than it shows."""
    port = PortView("vif1.0", "a.0", "a", 0, "02:00:00:00:61:00", up=False)
    view = HostView({"br-red": SwitchView("br-red", "red", mtu=9000, ports={"vif1.0": port})}, {"a": GuestView("a", 1, "a")})
    switch = {"bridge": "br-red", "network": "red", "mtu": 9000, "ports": [msgspec.to_builtins(port)]}
    assert observed_view({"switches": [switch], "guests": [{"vm": "a", "domid": 1, "name": "a"}]}) == view
