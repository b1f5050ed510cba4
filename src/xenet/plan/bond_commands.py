"""A bond as commands of ip(8): what makes one, and what leads from one to another. The Linux kernel has no balance-slb: it is balance-xor
by the source's MAC and VLAN, and what keeps its frames from coming back has no command of ip's.
"""

from collections.abc import Iterator

from xenet.plan.view import BondView

_MODES = {"active-backup": "active-backup", "lacp": "802.3ad", "balance-slb": "balance-xor"}


def bond_commands(device: str, want: BondView, have: BondView | None) -> tuple[str, ...]:
    """From what is there, None: nothing."""
    if have is None:
        make = f"ip link add {device} address {want.mac} type bond {_settings(want)}"
        return (make, *(_enslave(device, slave) for slave in want.slaves))
    return tuple(_changes(device, want, have))


def _changes(device: str, want: BondView, have: BondView) -> Iterator[str]:
    anew = want.mode != have.mode
    for slave in have.slaves:
        if anew or slave not in want.slaves:
            yield f"ip link set {slave} nomaster" + ("" if slave in want.slaves else " up")
    if (want.mode, want.lacp_time, want.lacp_key) != (have.mode, have.lacp_time, have.lacp_key):
        yield f"ip link set {device} down"
    if not have.whole or _settings(want) != _settings(have):
        yield f"ip link set {device} type bond {_settings(want)}"
    if want.mac != have.mac:
        yield f"ip link set {device} address {want.mac}"
    yield from (_enslave(device, slave) for slave in want.slaves if anew or slave not in have.slaves)


def _enslave(device: str, slave: str) -> str:
    return f"ip link set {slave} down && ip link set {slave} master {device}"


def _settings(bond: BondView) -> str:
    said = f"mode {_MODES[bond.mode]} miimon {bond.miimon} downdelay {bond.downdelay} updelay {bond.updelay}"
    if bond.mode == "active-backup":
        return said + (f" primary {bond.primary}" if bond.primary else "")
    if bond.mode == "balance-slb":
        return f"{said} xmit_hash_policy vlan+srcmac"
    policy = "layer3+4" if bond.hashing == "tcpudp_ports" else "vlan+srcmac"
    key = f" ad_user_port_key {bond.lacp_key}" if bond.lacp_key else ""
    return f"{said} xmit_hash_policy {policy} lacp_rate {bond.lacp_time}{key}"
