"""The addresses that a locked VIF may use: how an entry of ipv4_allowed or ipv6_allowed reads."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network


def find_allowed(text: str, version: int) -> IPv4Network | IPv6Network | None:
    """The addresses that an entry stands for: one address, or a CIDR whose host bits do not count. None for anything else."""
    address, slash, prefix = text.partition("/")
    try:
        if "%" in address or ip_address(address).version != version or (slash and not (prefix.isascii() and prefix.isdecimal())):
            return None
        return ip_network(text, strict=False)
    except ValueError:
        return None
