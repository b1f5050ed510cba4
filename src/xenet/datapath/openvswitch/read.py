"""Rows of the database as specs: those of our bridges, with all their ports, and who has which device."""

from typing import Any

from xenet.datapath.openvswitch.rows import MIRROR, NETWORK, VIF, Bridge, Interface, Mirror, Port


def read_bridge(row: Any) -> Bridge:
    ports = {port.name: port for port in map(read_port, row.ports)}
    return Bridge(
        row.name,
        ports,
        dict(row.external_ids),
        dict(row.other_config),
        row.datapath_type,
        _first(row.fail_mode, ""),
        row.mcast_snooping_enable,
        {mirror.name: read_mirror(mirror) for mirror in row.mirrors if MIRROR in mirror.external_ids},
        foreign=not is_ours(row),
    )


def read_port(row: Any) -> Port:
    return Port(
        row.name,
        tuple(sorted(map(read_interface, row.interfaces), key=lambda interface: interface.name)),
        _first(row.tag, -1),
        row.fake_bridge,
        tuple(sorted(row.trunks)),
        dict(row.external_ids),
        dict(row.other_config),
        _first(row.bond_mode, ""),
        _first(row.lacp, ""),
        row.bond_updelay,
        row.bond_downdelay,
        row.protected,
        _first(row.vlan_mode, ""),
    )


def read_mirror(row: Any) -> Mirror:
    """Of a mirror of ours."""
    sent, heard = (tuple(sorted(port.name for port in ports)) for ports in (row.select_src_port, row.select_dst_port))
    output = row.output_port[0].name if row.output_port else ""
    return Mirror(output, row.select_all, sent, heard, tuple(sorted(row.select_vlan)), bool(row.output_vlan), dict(row.external_ids))


def read_interface(row: Any) -> Interface:
    mtu, mac = _first(row.mtu_request, 0), _first(row.mac, "")
    return Interface(row.name, row.type, mtu, mac, dict(row.external_ids), dict(row.other_config), dict(row.options))


def _first(values: Any, default: Any) -> Any:
    """Of a column that may be empty."""
    return values[0] if values else default


def is_ours(row: Any) -> bool:
    """Whether this row of the table Bridge has our mark."""
    return NETWORK in row.external_ids


def has_part_of_ours(row: Any) -> bool:
    """Whether this row of the table Bridge is ours, or has ports of ours."""
    return is_ours(row) or any(VIF in port.external_ids for port in row.ports)
