"""Pictures of a lab, against drawings that a person has looked at."""

import os
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from xenet.lab.graph import FORMATS, draw
from xenet.lab.picture import Bridge, Cable, HostPicture, MachinePicture, Picture, Port, bridge_of

GOLDEN = Path(__file__).parent / "golden"
PICTURE = Picture(
    name="lab",
    switches=("sw1", "sw2"),
    hosts=(
        HostPicture(
            "host1",
            ("eth0", "eth1"),
            (
                Bridge("xenbr0", ("eth0",), (Port("vm1", "eth0", "10.0.0.101/24"), Port('a "b" & <c>', "eth0")), "10.0.0.1/24"),
                Bridge("xapi0", (), (Port("vm1", "eth1"),)),
            ),
            ("idle",),
        ),
        HostPicture("host2", ("eth0",), (), (), agent=False),
    ),
    machines=(MachinePicture("router", "10.0.0.254/24"), MachinePicture("nas", "10.0.1.254/24")),
    cables=(
        Cable("host1", "eth0", "sw1"),
        Cable("host1", "eth1", "sw2", plugged=False),
        Cable("host2", "eth0", "sw1"),
        Cable("router", "eth0", "sw1"),
        Cable("nas", "eth0", "sw2"),
    ),
    url="http://127.0.0.1:1/",
)


def test_the_nics_of_a_bond_hang_on_its_bridge() -> None:
    def link(name: str, master: str = "", kind: str = "") -> dict[str, Any]:
        return {"ifname": name, "addr_info": [], "linkinfo": {"info_kind": kind}, **({"master": master} if master else {})}

    links = [link("xapi0", kind="bridge"), link("bond0", "xapi0", "bond"), link("eth1", "bond0"), link("eth0", "bond0"), link("eth2", "xenbr2")]
    assert bridge_of(links[0], links, ("eth0", "eth1", "eth2"), lambda device: None).nics == ("eth1", "eth0")


@pytest.mark.parametrize("form", FORMATS)
def test_drawn_as_it_was_looked_at(form: str) -> None:
    golden = GOLDEN / f"lab.{form}"
    drawn = draw(PICTURE, form)
    if os.environ.get("XENET_GOLDEN"):  # writes them anew; then look at them
        golden.write_text(drawn)
    assert drawn == golden.read_text()


def test_the_svg_is_well_formed_and_nothing_sticks_out() -> None:
    root = ET.fromstring(draw(PICTURE, "svg"))
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    boxes = [box.attrib for box in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert len(boxes) == 1 + 2 + 2 + 2 + 3 + 2 + 4, "paper, switches, machines, hosts, NICs, bridges, guests' ports"
    for box in boxes:
        assert int(box.get("x", 0)) + int(box["width"]) <= width
        assert int(box.get("y", 0)) + int(box["height"]) <= height
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert 'a "b" & <c>' in texts
    assert "host2 (no agent)" in texts


@pytest.mark.parametrize("count", [1, 2, 5])
def test_guests_beside_each_other_do_not_overlap(count: int) -> None:
    ports = tuple(Port(f"vm{n}", "eth0") for n in range(count))
    picture = Picture(
        "lab", ("sw1",), (HostPicture("host1", ("eth0",), (Bridge("xenbr0", ("eth0",), ports),)),), cables=(Cable("host1", "eth0", "sw1"),)
    )
    root = ET.fromstring(draw(picture, "svg"))
    lefts = sorted(int(box.attrib["x"]) for box in root.iter("{http://www.w3.org/2000/svg}rect") if box.get("class") == "guest")
    assert len(lefts) == count
    assert all(right - left >= 118 for left, right in pairwise(lefts))
