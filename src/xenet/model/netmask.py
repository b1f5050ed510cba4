"""IPv4 netmasks and prefix lengths (RFC 4632): PIFs have the one, the kernel the other."""

from ipaddress import IPv4Network


def netmask_of(prefix: int) -> str:
    return str(IPv4Network((0, prefix)).netmask)


def prefix_of(netmask: str) -> int:
    """Raises ValueError for a mask with holes."""
    return IPv4Network(f"0.0.0.0/{netmask}").prefixlen
