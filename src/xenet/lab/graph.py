"""Pictures of a lab as text: Mermaid, Graphviz dot, and (in `svg`) SVG. Pure functions of a Picture."""

import re
from collections.abc import Iterator
from html import escape

import msgspec

from xenet.lab.picture import Bridge, HostPicture, Picture, lines_of
from xenet.lab.svg import svg

FORMATS = ("svg", "mermaid", "dot", "json")


def draw(picture: Picture, form: str) -> str:
    """The picture in one of FORMATS, ending with a newline."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(picture), indent=2).decode() + "\n"
    lines = {"svg": svg, "mermaid": _mermaid, "dot": _dot}[form](picture)
    return "\n".join(lines) + "\n"


def _id(*parts: str) -> str:
    """An identifier in both languages, one for each name."""
    return "_".join(re.sub(r"\W", "_", part) for part in parts)


def _mermaid(picture: Picture) -> Iterator[str]:
    yield "graph TD"
    for machine in picture.machines:
        yield f'  {_id(machine.name)}["{machine.name}<br/>{machine.address}"]'
    for switch in picture.switches:
        yield f'  {_id(switch)}{{{{"{switch}"}}}}'
    for host in picture.hosts:
        yield f'  subgraph {_id(host.name)}["{host.name}"]'
        yield from (f'    {_id(host.name, nic)}(["{nic}"])' for nic in host.nics)
        for bridge in host.bridges:
            yield f'    {_id(host.name, bridge.name)}["{"<br/>".join(lines_of(bridge.name, bridge.address))}"]'
            yield from (f"    {_id(host.name, nic)} --- {_id(host.name, bridge.name)}" for nic in bridge.nics)
        for guest in guests_of(host):
            yield f'    {_id("vm", guest)}("{_quoted(guest)}")'
        yield from (f'    {_id(host.name, b.name)} ---|"{p}"| {_id("vm", g)}' for b, g, p in _ports(host))
        yield "  end"
    for cable in picture.cables:
        end = _id(cable.owner, cable.nic) if any(host.name == cable.owner for host in picture.hosts) else _id(cable.owner)
        yield f"  {_id(cable.switch)} {'---' if cable.plugged else '-. pulled .-'} {end}"


def _quoted(text: str) -> str:
    return escape(text).replace("&quot;", "#quot;")


def guests_of(host: HostPicture) -> list[str]:
    """Every guest of a host once, in the order of the bridges."""
    return list(dict.fromkeys([port.guest for bridge in host.bridges for port in bridge.ports] + list(host.guests)))


def _ports(host: HostPicture) -> Iterator[tuple[Bridge, str, str]]:
    """Bridge, guest, and what stands on the line between them."""
    for bridge in host.bridges:
        for port in bridge.ports:
            yield bridge, port.guest, " ".join(lines_of(port.device, port.address))


def _dot(picture: Picture) -> Iterator[str]:
    yield f'graph "{_dotted(picture.name)}" {{'
    yield '  node [fontname="sans-serif" shape=box style=rounded]; edge [fontname="sans-serif" fontsize=10];'
    for machine in picture.machines:
        yield f'  {_id(machine.name)} [label="{machine.name}\\n{machine.address}"];'
    for switch in picture.switches:
        yield f'  {_id(switch)} [label="{switch}" shape=hexagon];'
    for host in picture.hosts:
        yield f'  subgraph cluster_{_id(host.name)} {{ label="{host.name}";'
        yield from (f'    {_id(host.name, nic)} [label="{nic}" shape=oval];' for nic in host.nics)
        for bridge in host.bridges:
            text = "\\n".join(lines_of(bridge.name, bridge.address))
            yield f'    {_id(host.name, bridge.name)} [label="{text}"];'
            yield from (f"    {_id(host.name, nic)} -- {_id(host.name, bridge.name)};" for nic in bridge.nics)
        for guest in guests_of(host):
            yield f'    {_id("vm", guest)} [label="{_dotted(guest)}" style="rounded,filled"];'
        yield from (f'    {_id(host.name, b.name)} -- {_id("vm", g)} [label="{p}"];' for b, g, p in _ports(host))
        yield "  }"
    for cable in picture.cables:
        end = _id(cable.owner, cable.nic) if any(host.name == cable.owner for host in picture.hosts) else _id(cable.owner)
        yield f"  {_id(cable.switch)} -- {end}{'' if cable.plugged else ' [style=dashed label=pulled]'};"
    yield "}"


def _dotted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
