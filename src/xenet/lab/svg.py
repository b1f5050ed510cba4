"""A lab as SVG: machines above, the switches as bars, below them the hosts with NICs, bridges and guests from top to bottom.

Every box is placed by its column: a host is as wide as its bridges, a bridge as wide as its guests. Numbers are pixels.
"""

from collections.abc import Iterator
from html import escape

import msgspec

from xenet.lab.picture import Bridge, HostPicture, Picture, lines_of

BOX_W, BOX_H, GAP, PAD = 118, 44, 14, 18
NIC_H = 24
MACHINE_Y, SWITCH_Y, SWITCH_H = 20, 110, 30
SWITCH_STEP = 46
LINE, BASELINE = 16, 12
"""A line of text, and where in it the letters stand."""
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1d2733; text-anchor: middle }
  .small { font-size: 11px; fill: #5b6878 }
  .host { fill: #f3f6fa; stroke: #b9c5d3 }
  .title { font-weight: 600; text-anchor: start }
  .switch { fill: #22577a; stroke: none } .on-dark { fill: #fff; font-weight: 600 }
  .nic { fill: #ffd98e; stroke: #c98f1b } .bridge { fill: #cfe8dc; stroke: #38856a }
  .guest { fill: #d8e2ff; stroke: #4a67c0 } .machine { fill: #eadcf4; stroke: #8458a8 }
  path { fill: none; stroke: #6b7a8c; stroke-width: 1.6 } .pulled { stroke: #c8102e; stroke-dasharray: 5 5 }
"""


class _Column(msgspec.Struct, frozen=True):
    """A bridge and what hangs on it, or (bridge None) NICs and guests without one; x is its left side."""

    x: int
    width: int
    bridge: Bridge | None
    nics: tuple[str, ...]
    guests: tuple[tuple[str, str], ...]
    """Name, and what stands below it."""

    @property
    def middle(self) -> int:
        return self.x + self.width // 2


class _HostBox(msgspec.Struct, frozen=True):
    x: int
    width: int
    host: HostPicture
    columns: tuple[_Column, ...]


def svg(picture: Picture) -> Iterator[str]:
    """The lines of the file."""
    boxes = _place_hosts(picture)
    width = max(box.x + box.width for box in boxes) + PAD
    width = max(width, PAD + len(picture.machines) * (BOX_W + GAP) + PAD)
    top = SWITCH_Y + SWITCH_STEP * len(picture.switches) + 40
    height = top + 236 + PAD
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    yield f"<title>{escape(picture.name)}</title>"
    yield f"<style>{STYLE}</style>"
    yield f'<rect width="{width}" height="{height}" fill="#fff"/>'
    yield from (line for box in boxes for line in _host_frame(box, top))
    yield from _cables(picture, boxes, top)
    for index, switch in enumerate(picture.switches):
        yield from _box("switch", PAD, SWITCH_Y + index * SWITCH_STEP, width - 2 * PAD, SWITCH_H, [switch], "on-dark")
    for index, machine in enumerate(picture.machines):
        yield from _box("machine", PAD + index * (BOX_W + GAP), MACHINE_Y, BOX_W, BOX_H, [machine.name, machine.address])
    yield from (line for box in boxes for line in _host_inside(box, top))
    yield "</svg>"


def _place_hosts(picture: Picture) -> list[_HostBox]:
    boxes, x = [], PAD
    for host in picture.hosts:
        columns = tuple(_columns(host, x + PAD))
        width = max(columns[-1].x + columns[-1].width + PAD - x, BOX_W + 2 * PAD)
        boxes.append(_HostBox(x, width, host, columns))
        x += width + PAD
    return boxes


def _columns(host: HostPicture, x: int) -> Iterator[_Column]:
    bridged = {nic for bridge in host.bridges for nic in bridge.nics}
    parts: list[tuple[Bridge | None, tuple[str, ...], tuple[tuple[str, str], ...]]] = [
        (bridge, bridge.nics, tuple((port.guest, " ".join(lines_of(port.device, port.address))) for port in bridge.ports)) for bridge in host.bridges
    ]
    loose = tuple(nic for nic in host.nics if nic not in bridged)
    if loose or host.guests or not parts:
        parts.append((None, loose, tuple((guest, "no network") for guest in host.guests)))
    for bridge, nics, guests in parts:
        width = max(1, len(nics), len(guests)) * (BOX_W + GAP) - GAP
        yield _Column(x, width, bridge, nics, guests)
        x += width + GAP


def _host_frame(box: _HostBox, top: int) -> Iterator[str]:
    yield f'<rect class="host" x="{box.x}" y="{top}" width="{box.width}" height="236" rx="10"/>'
    state = "" if box.host.agent else " (no agent)"
    yield f'<text class="title" x="{box.x + PAD}" y="{top + 224}">{escape(box.host.name + state)}</text>'


def _host_inside(box: _HostBox, top: int) -> Iterator[str]:
    for column in box.columns:
        bridge_y, guest_y = top + 70, top + 158
        for nic, x in zip(column.nics, _spread(column, len(column.nics)), strict=True):
            if column.bridge is not None:
                yield _line(x, top + 14 + NIC_H, column.middle, bridge_y)
            yield from _box("nic", x - 32, top + 14, 64, NIC_H, [nic])
        for (guest, below), x in zip(column.guests, _spread(column, len(column.guests)), strict=True):
            if column.bridge is not None:
                yield _line(column.middle, bridge_y + BOX_H, x, guest_y)
            yield from _box("guest", x - BOX_W // 2, guest_y, BOX_W, BOX_H, [guest, below])
        if column.bridge is not None:
            yield from _box("bridge", column.x, bridge_y, column.width, BOX_H, lines_of(column.bridge.name, column.bridge.address))


def _spread(column: _Column, count: int) -> list[int]:
    """The middles of so many boxes beside each other, centred in the column."""
    left = column.middle - (count * (BOX_W + GAP) - GAP) // 2
    return [left + BOX_W // 2 + index * (BOX_W + GAP) for index in range(count)]


def _cables(picture: Picture, boxes: list[_HostBox], top: int) -> Iterator[str]:
    """Behind the switches' bars, so that each seems to go into its own."""
    at = {
        (box.host.name, nic): (x, top + 14)
        for box in boxes
        for column in box.columns
        for nic, x in zip(column.nics, _spread(column, len(column.nics)), strict=True)
    }
    at |= {(machine.name, "eth0"): (PAD + i * (BOX_W + GAP) + BOX_W // 2, MACHINE_Y + BOX_H) for i, machine in enumerate(picture.machines)}
    for cable in picture.cables:
        x, y = at[cable.owner, cable.nic]
        middle = SWITCH_Y + picture.switches.index(cable.switch) * SWITCH_STEP + SWITCH_H // 2
        yield f'<path{"" if cable.plugged else " class=" + chr(34) + "pulled" + chr(34)} d="M{x} {middle}V{y}"/>'


def _line(x1: int, y1: int, x2: int, y2: int) -> str:
    half = (y1 + y2) // 2
    return f'<path d="M{x1} {y1}C{x1} {half} {x2} {half} {x2} {y2}"/>'


def _box(kind: str, x: int, y: int, width: int, height: int, texts: list[str], text_class: str = "") -> Iterator[str]:
    """A box with its name and, smaller, what else stands in it."""
    yield f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
    for index, text in enumerate(texts):
        line_y = y + (height - LINE * len(texts)) // 2 + LINE * index + BASELINE
        words = text_class or ("small" if index else "")
        mark = f' class="{words}"' if words else ""
        yield f'<text{mark} x="{x + width // 2}" y="{line_y}">{escape(text)}</text>'
