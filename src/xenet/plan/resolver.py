"""The host's resolv.conf(5): which PIF's name servers count, and what the file says."""

import re
from ipaddress import ip_address

from xenet.model.state import PoolState
from xenet.model.types import Ref
from xenet.plan.layer3 import chosen_pif

_DOMAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")


def resolv_conf(state: PoolState, host: Ref) -> str:
    """Of one PIF: that with other_config:peerdns=true, else the management interface, else any with an address (XenServer's order). Its DNS,
    given or by DHCP, and the search list from other_config:domain; empty where it has neither. What is no address or no name is left out."""
    pif = chosen_pif(state, host, "peerdns")
    if pif is None or not pif.managed:  # what is unmanaged its administrator gives a resolver
        return ""
    servers = [server for server in map(str.strip, pif.DNS.split(",")) if _is_address(server)]
    domains = [name for name in map(str.strip, pif.other_config.get("domain", "").split(",")) if _DOMAIN.fullmatch(name)]
    if not (servers or domains):
        return ""
    search = [f"search {' '.join(domains)}"] if domains else []
    return "\n".join((f"# xenet: the DNS of PIF {pif.device}", *search, *(f"nameserver {server}" for server in servers), ""))


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False
