"""The way from the observed to the wanted: what is taken away first, so that names, NICs and addresses are free for what comes; a switch
goes last, when the ports that move on have left it. Where a bond comes or goes, old and new overlap (`overlap`)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from xenet.plan.guests import go_on, start_guests, stop_guests, unplug_nics
from xenet.plan.overlap import Pair, lets_go, overlaps
from xenet.plan.steps import (
    AddAddress,
    AddRoute,
    Announce,
    AttachUplink,
    CreatePort,
    CreateSwitch,
    DeleteSwitch,
    DetachUplink,
    OfferPort,
    RemoveAddress,
    RemovePort,
    RemoveRoute,
    SeatPort,
    SetAdvertisements,
    SetMirrors,
    SetPort,
    SetSwitch,
    Step,
)
from xenet.plan.view import HostView, MirrorView, PortView, SwitchView, UplinkView, ends_of, nics_of, same_device

TOLD = "what its driver shall do"


def diff_host(wanted: HostView, observed: HostView, borrowed: Mapping[str, tuple[str, ...]] | None = None) -> list[Step]:
    """The steps that make a host equal to what is wanted. `borrowed` are the addresses that NICs hold themselves (device -> CIDRs):
    they leave a NIC that is an uplink, as its bridge gets them."""
    return diff_views(wanted, observed, {*wanted.switches, *observed.switches}, {*wanted.guests, *observed.guests}, borrowed)


def diff_views(
    wanted: HostView,
    observed: HostView,
    bridges: Iterable[str],
    vms: Iterable[str],
    borrowed: Mapping[str, tuple[str, ...]] | None = None,
) -> list[Step]:
    """The same for some bridges and some VMs only."""
    borrowed = borrowed or {}
    found = ((wanted.switches.get(bridge), observed.switches.get(bridge)) for bridge in sorted(bridges))
    pairs = [pair for want, have in found for pair in _apart(want, have)]
    pairs = [(want, have) for want, have in pairs if want != have or _lent(want, borrowed)]
    moves = _moves(pairs)
    guests = [(wanted.guests.get(vm), observed.guests.get(vm)) for vm in sorted(vms)]
    steps: list[Step] = []
    steps += [_mirrored(have, kept, have.mirrors) for want, have in pairs if have and (kept := _kept(want, have)) != have.mirrors]
    steps += unplug_nics(guests)
    for want, have in pairs:
        steps += _take_away(want, have, moves)
    steps += stop_guests(guests)
    steps += _change_over(pairs, borrowed, moves, list(start_guests(guests)))
    steps += [_mirrored(want, want.mirrors, _kept(want, have)) for want, have in pairs if want and _mirrors_differ(want, have)]
    steps += go_on(guests)
    steps += [_delete(have) for want, have in pairs if want is None and have is not None and not have.foreign]
    return steps + list(_hand_over(pairs))


def _change_over(
    pairs: Sequence[Pair], borrowed: Mapping[str, tuple[str, ...]], moves: Mapping[str, PortView], start: Sequence[Step]
) -> Iterator[Step]:
    """From what stands to what shall stand, the guests started in between. What stands on another goes before that one, and comes after it."""
    laps = list(overlaps(pairs))
    clear = [have for lap in laps for have in lap.clear]
    last = [have for lap in laps for have in lap.last]
    stands = {lap.stands.bridge: lap.stands for lap in laps}
    down = sorted(pairs, key=lambda pair: not _on_vlan(pair[1]))
    yield from _all_down([pair for pair in down if pair[1] in clear], last)
    for want, have in pairs:
        yield from _stand(stands[want.bridge], have, borrowed) if want and want.bridge in stands else ()
    yield from _all_down([pair for pair in down if pair[1] not in clear], last)
    yield from start
    for want, have in sorted(pairs, key=lambda pair: _on_vlan(pair[0])):
        if want is not None and not want.foreign:
            yield from _stand(want, have, borrowed) if want.bridge not in stands else ()
            yield from _give(want, have)
        yield from _put_in(want, have, moves) if want else ()
    for want, have in pairs:
        yield from _let_go(want, have) if have in last else ()
    for want, _ in pairs:
        yield from _stand(want, stands[want.bridge], borrowed) if want and stands.get(want.bridge, want) != want else ()


def _all_down(pairs: Iterable[Pair], last: Sequence[SwitchView]) -> Iterator[Step]:
    for want, have in pairs:
        yield from _take_down(want, have)
        yield from _let_go(want, have) if have not in last else ()


def _apart(want: SwitchView | None, have: SwitchView | None) -> list[Pair]:
    """One of ours and one of somebody else's have nothing in common but the name."""
    return [(want, None), (None, have)] if want and have and want.foreign != have.foreign else [(want, have)]


def _on_vlan(switch: SwitchView | None) -> bool:
    return switch is not None and switch.uplink is not None and switch.uplink.vlan is not None


def _lent(want: SwitchView | None, borrowed: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """The addresses that a switch's uplink, or a slave of its bond, still holds itself, each with its device."""
    devices = nics_of(want.uplink) if want and want.uplink else ()
    return [(device, address) for device in devices for address in borrowed.get(device, ())]


def _delete(have: SwitchView) -> Step:
    return DeleteSwitch(object=have.network, reason="the network is not in use here", bridge=have.bridge)


def _moves(pairs: Iterable[Pair]) -> dict[str, PortView]:
    """Ports that leave one switch for another with the same device, as they are now: they keep it."""
    there = {device: port for want, _ in pairs if want for device, port in want.ports.items()}
    gone = {device: port for want, have in pairs if have for device, port in have.ports.items() if not want or device not in want.ports}
    return {device: port for device, port in gone.items() if device in there and same_device(there[device], port)}


def _take_away(want: SwitchView | None, have: SwitchView | None, moves: Mapping[str, PortView]) -> Iterator[Step]:
    if have is None:
        return
    for device, port in have.ports.items():
        wanted = want.ports.get(device) if want else None
        if wanted == port:  # nearly all of them: one port of hundreds has changed
            continue
        if wanted is None and device not in moves:
            yield RemovePort(object=port.vif, reason="its VIF is not plugged here", bridge=have.bridge, port=port)
        elif wanted is not None and not same_device(wanted, port):
            yield RemovePort(object=port.vif, reason="its VIF is another one now", bridge=have.bridge, port=port)


def _take_down(want: SwitchView | None, have: SwitchView | None) -> Iterator[Step]:
    if have is None:
        return
    for route in have.routes:
        if want is None or route not in want.routes:
            yield RemoveRoute(object=have.network, reason="no PIF asks for it", bridge=have.bridge, route=route)
    for address in have.addresses:
        if want is None or address not in want.addresses:
            yield RemoveAddress(
                object=have.network, reason="no PIF has it" if have.uplink else "the host has no address here", device=have.bridge, address=address
            )


def _let_go(want: SwitchView | None, have: SwitchView | None) -> Iterator[Step]:
    if have and have.uplink and lets_go(want, have):
        yield DetachUplink(
            object=have.network,
            reason="its PIF is not plugged",
            bridge=have.bridge,
            device=have.uplink.device,
            made=have.uplink.made,
            slaves=have.uplink.bond.slaves if have.uplink.bond else (),
            ends=ends_of(have.uplink),
        )


def _basics(switch: SwitchView) -> tuple[object, ...]:
    return switch.mtu, switch.up, switch.network, switch.fail_mode, switch.disable_in_band, switch.snooping, switch.learning


def _why(want: SwitchView, have: SwitchView) -> str:
    if want.learning != have.learning:
        return "it learns no more: its own flow was deleted"
    return "MAC, MTU or state differ" if want.snooping == have.snooping else "IGMP snooping"


def _set_switch(want: SwitchView, have: SwitchView, reason: str) -> SetSwitch:
    return SetSwitch(object=want.network, reason=reason, switch=want, ethtool=have.ethtool, snooping=have.snooping, learning=have.learning)


def _stand(want: SwitchView, have: SwitchView | None, borrowed: Mapping[str, tuple[str, ...]]) -> Iterator[Step]:
    """The switch itself, and what it leads out by."""
    if have is None:
        yield CreateSwitch(object=want.network, reason="the network is in use here", switch=want)
    elif (want.mac and want.mac != have.mac) or _basics(want) != _basics(have):
        yield _set_switch(want, have, _why(want, have))
    elif want.ethtool != have.ethtool:
        yield _set_switch(want, have, TOLD)
    if want.uplink:
        yield from _join(want, want.uplink, have, borrowed)


def _give(want: SwitchView, have: SwitchView | None) -> Iterator[Step]:
    """What the host itself has on it."""
    if want.advertisements != (have.advertisements if have else None):
        reason = "how the PIF gets its IPv6 address"
        yield SetAdvertisements(object=want.network, reason=reason, bridge=want.bridge, advertisements=want.advertisements)
    for address in want.addresses:
        if have is None or address not in have.addresses:
            yield AddAddress(
                object=want.network, reason="the PIF's address" if want.uplink else "the host's address here", bridge=want.bridge, address=address
            )
    for route in want.routes:
        if have is None or route not in have.routes:
            yield AddRoute(object=want.network, reason="the PIF's gateway or the network's static route", bridge=want.bridge, route=route)


def _join(want: SwitchView, uplink: UplinkView, have: SwitchView | None, borrowed: Mapping[str, tuple[str, ...]]) -> Iterator[Step]:
    current = have.uplink if have else None
    if current != uplink:
        told = current is not None and msgspec.structs.replace(current, ethtool=uplink.ethtool) == uplink
        reason, ethtool = TOLD if told else "the network's PIF here", current.ethtool if current else {}
        bond, vlan = (current.bond, current.vlan) if current and current.device == uplink.device else (None, None)
        yield AttachUplink(object=want.network, reason=reason, bridge=want.bridge, uplink=uplink, ethtool=ethtool, bond=bond, vlan=vlan)
    for device, address in _lent(want, borrowed):
        yield RemoveAddress(object=want.network, reason="a port has no address of its own", device=device, address=address)


def _mirrors_differ(want: SwitchView, have: SwitchView | None) -> bool:
    """Also where what is copied from is another device by now."""
    if have is None or want.mirrors != _kept(want, have):
        return have is not None or bool(want.mirrors)
    if not want.mirrors:
        return False
    uplinks = [switch.uplink and switch.uplink.device for switch in (want, have)]
    same = all(device in have.ports and same_device(port, have.ports[device]) for device, port in want.ports.items())
    return not same or uplinks[0] != uplinks[1]


def _kept(want: SwitchView | None, have: SwitchView | None) -> tuple[MirrorView, ...]:
    """The mirrors that stay while ports go and come: a target that shall be none any more is let go before it moves on."""
    targets = {mirror.target for mirror in want.mirrors} if want else set()
    return tuple(mirror for mirror in have.mirrors if mirror.target in targets) if have else ()


def _mirrored(switch: SwitchView, mirrors: tuple[MirrorView, ...], now: tuple[MirrorView, ...]) -> Step:
    reason = "what is mirrored to whom" if mirrors else "nothing is mirrored here"
    return SetMirrors(object=switch.network, reason=reason, bridge=switch.bridge, mirrors=mirrors, now=now)


def _put_in(want: SwitchView, have: SwitchView | None, moves: Mapping[str, PortView]) -> Iterator[Step]:
    there = have.ports if have else {}
    for device, port in want.ports.items():
        current = there.get(device)
        if current == port:
            continue
        if current is not None and same_device(port, current):
            if msgspec.structs.replace(current, moving=port.moving) != port:
                yield _set(want, port, current, _differs(port, current))
        elif device in moves:
            yield _set(want, port, moves[device], "its VIF moved to this network")
        else:
            yield CreatePort(object=port.vif, reason="its VIF is plugged", bridge=want.bridge, foreign=want.foreign, port=port)


def _set(switch: SwitchView, port: PortView, now: PortView, reason: str) -> Step:
    return SetPort(
        object=port.vif,
        reason=reason,
        bridge=switch.bridge,
        foreign=switch.foreign,
        port=port,
        rate=now.rate,
        lock=now.lock,
        ethtool=now.ethtool,
    )


def _hand_over(pairs: Iterable[Pair]) -> Iterator[Step]:
    """What is left to do with the ports of VMs that move, when all of them are in their switches: those of a VM change together. Who speaks for
    itself must be there first; for all others the host speaks, and notes when it has: an agent that dies in between leaves it to the next one."""
    have = {device: port for _, switch in pairs if switch for device, port in switch.ports.items()}
    want = [port for switch, _ in pairs if switch for port in switch.ports.values()]
    kept = [(port, have[port.device]) for port in want if port.device in have and same_device(port, have[port.device])]
    for port, now in kept:
        if port.moving and not now.moving:
            yield OfferPort(object=port.vif, reason="its VM is about to move", port=port)
    seated = [port for port, now in kept if now.moving and not port.moving]
    for vm in dict.fromkeys(port.vm for port in seated):
        its = [port for port in seated if port.vm == vm]
        seats = (SeatPort(object=port.vif, reason="its VM runs here from now on", port=port) for port in its)
        words = (Announce(object=port.vif, reason="switches know its MAC elsewhere", port=port) for port in its)
        yield from (*words, *seats) if its[0].kind == "tap" else (*seats, *words)


def _differs(want: PortView, have: PortView) -> str:
    if (want.mtu, want.up) != (have.mtu, have.up):
        return "MTU or state differ"
    if want.lock != have.lock:
        return "what its VIF is locked to"
    if want.trunks != have.trunks:
        return "the VLANs that its VIF has"
    return "the rate that its VIF may send at" if want.rate != have.rate else TOLD
