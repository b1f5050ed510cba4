"""The mark by which xenet knows its own devices on a host, also after a restart, and never touches another's.

A device's group (IFLA_GROUP) is set in the message that creates it, so there is no moment at which it is nobody's; its alias, which
the kernel takes only in a later message, says which network or VIF it stands for. So a device of our group without a valid alias is
one that a killed agent left half-made. A device out of service waits in group DEAD for its deletion, since deleting costs 17 ms
alone and under 1 ms in company.
"""

import re

import msgspec

from xenet.datapath.links import SWITCHES, Link
from xenet.model.guests import PortKind
from xenet.plan.view import BondView, PortView

LIVE = 0x58454E01
DEAD = 0x58454E02
DOOMED = 0x58454E03
"""Those that are being deleted together at this very moment."""
HOST_MAC = "fe:ff:ff:ff:ff:ff"
"""The host's end of every VIF, as in XenServer: higher than any other, so a bridge never takes it for its own."""

_DEVICE = re.compile(r"(vif|tap)\d+\.(\d+)\Z")
_ASKED = tuple(name for name in BondView.__struct_fields__ if name not in ("slaves", "mac", "whole"))


def switch_alias(network: str, uplink: str = "", gre: str = "") -> str:
    """A bridge's alias. It names the uplink, so that a NIC that we put there is told from one that an administrator did; and what a tunnel by
    GRE is asked for, which has a device for each peer and none of its own."""
    said = {"network": network, "uplink": uplink, "gre": gre}
    return " ".join(["xenet", *(f"{name}={value}" for name, value in said.items() if value)])


def kept_alias(alias: str, network: str) -> str:
    """The same for this network, with all that the present one says of an uplink."""
    said = words(alias)
    return switch_alias(network, said.get("uplink", ""), said.get("gre", ""))


def gre_word(key: int, local: str) -> str:
    return f"{key}@{local}"


def asked_gre(bridge: Link) -> tuple[int, str] | None:
    """The key and the address here of a switch's tunnel by GRE; None of a switch without."""
    key, _, local = words(bridge.alias).get("gre", "").partition("@")
    return (int(key), local) if key.isdecimal() else None


def port_alias(port: PortView) -> str:
    return f"xenet vif={port.vif} vm={port.vm} mac={port.mac}{' moving=1' if port.moving else ''}"


def limiter_alias(port: PortView) -> str:
    return f"xenet limits={port.device} vif={port.vif}"


def bond_alias(bond: BondView) -> str:
    """What a bond was asked for: not all of it has a place in the kernel, and delays are rounded there."""
    return " ".join(["xenet", *(f"{name}={getattr(bond, name)}" for name in _ASKED)])


def asked_of(link: Link) -> BondView | None:
    """What a bond of ours in service was asked for, yet without slaves and MAC; None for any other device."""
    if link.group != LIVE or link.kind != "bond":
        return None
    try:
        return msgspec.convert({**words(link.alias), "slaves": (), "mac": ""}, BondView, strict=False)
    except msgspec.ValidationError:
        return None


def leg_alias(port: PortView) -> str:
    """Of a limiter's other end, where it has one."""
    return f"xenet leg={port.device}"


def tunnel_alias(device: str) -> str:
    """Of both ends of a pair that a tunnelled network's frames go through."""
    return f"xenet tunnel={device}"


def words(alias: str) -> dict[str, str]:
    """What an alias of ours says; empty for any other alias."""
    first, *rest = alias.split(" ")
    return dict(word.split("=", 1) for word in rest if "=" in word) if first == "xenet" else {}


def port_view(link: Link) -> PortView | None:
    """The VIF that a device in service stands for, None for any other device."""
    if link.group != LIVE:
        return None
    named, said = _DEVICE.match(link.name), words(link.alias)
    if named is None or not said.keys() >= {"vif", "vm", "mac"}:
        return None
    kind: PortKind = "tap" if named[1] == "tap" else "namespace"
    moving = "moving" in said
    return PortView(link.name, said["vif"], said["vm"], int(named[2]), said["mac"], link.mtu, kind, link.up, moving=moving)


def is_switch(link: Link) -> bool:
    """Whether this is a bridge of ours in service, or the local device of one of Open vSwitch's."""
    return link.group == LIVE and link.kind in SWITCHES and "network" in words(link.alias)


def limited_by(link: Link) -> str:
    """The port that a limiter in service stands behind, empty for any other device."""
    return words(link.alias).get("limits", "") if link.group == LIVE and link.kind in ("ifb", "veth") else ""


def is_remnant(link: Link) -> bool:
    """Whether this is one of ours that nobody needs: out of service, half-made by an agent that was killed, or a port of nothing.

    Whether a limiter is needed its port knows; whether an end of a tunnel's pair is, its switch.
    """
    if link.group != LIVE:
        return link.group in (DEAD, DOOMED)
    if is_switch(link) or limited_by(link) or words(link.alias).keys() & {"leg", "tunnel"}:
        return False
    if link.kind in ("vlan", "vxlan", "gretap", "bond"):
        return not link.master
    return port_view(link) is None or not link.master


def is_tunnel_end(link: Link) -> bool:
    """Whether this is a device in service that leads to one peer of a tunnel."""
    return link.group == LIVE and link.kind == "gretap"


def is_ours(link: Link) -> bool:
    return link.group in (LIVE, DEAD, DOOMED)
