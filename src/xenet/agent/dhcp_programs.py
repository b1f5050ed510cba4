"""The DHCP clients that the agent runs, and how each is told to say what it was given: it configures nothing itself.

busybox's udhcpc for IPv4; for IPv6 ISC's dhclient, which binds to the link-local address of its one interface, so that several run beside
each other. Both call a script, whose words are the same.
"""

from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import NamedTuple

from xenet.model.hidden import Lease

_UDHCPC = """#!/bin/sh
case "$1" in
    bound|renew) echo "lease $ip/$mask gateway=${router%% *} dns=$(echo $dns | tr ' ' ,)" ;;
    deconfig) echo "none" ;;
esac
"""
_DHCLIENT = """#!/bin/sh
case "$reason" in
    BOUND6|RENEW6|REBIND6) echo "lease $new_ip6_address/$new_ip6_prefixlen gateway= dns=$(echo $new_dhcp6_name_servers | tr ' ' ,)" ;;
    EXPIRE6|RELEASE6|STOP6) echo "none" ;;
esac
"""
_APPARMOR = Path("/sys/kernel/security/apparmor")


class Program(NamedTuple):
    """A client: its script, and its command line for (bridge, the address to ask for again or "", the folder of its files)."""

    name: str
    script: str
    command: Callable[[str, str, Path], list[str]]

    def prepare(self, folder: Path) -> None:
        """Write its script."""
        path = folder / f"{self.name}.sh"
        path.write_text(self.script)
        path.chmod(0o700)


def _udhcpc(bridge: str, address: str, folder: Path) -> list[str]:
    command = ["udhcpc", "-f", "-i", bridge, "-s", str(folder / "udhcpc.sh"), "-T", "1", "-t", "4", "-A", "3"]
    return [*command, "-r", address] if address else command


def _dhclient(bridge: str, address: str, folder: Path) -> list[str]:
    """It remembers its address in a file of its own, and is known to the server by the bridge's MAC (DUID-LL). Debian's AppArmor profile
    would keep it from files and scripts elsewhere than in its own folders; who loads profiles has aa-exec, too."""
    leases = folder / f"dhclient-{bridge}.leases"
    leases.touch()
    confined = ["aa-exec", "-p", "unconfined", "--"] if _APPARMOR.exists() and which("aa-exec") else []
    files = ["-cf", "/dev/null", "-lf", str(leases), "-pf", str(folder / f"dhclient-{bridge}.pid"), "-sf", str(folder / "dhclient.sh")]
    return [*confined, "dhclient", "-6", "-d", "-q", "-D", "LL", *files, bridge]


UDHCPC = Program("udhcpc", _UDHCPC, _udhcpc)
DHCLIENT = Program("dhclient", _DHCLIENT, _dhclient)


def parse_lease(line: str) -> Lease | None:
    """What a script says; None when there is no lease (any more)."""
    words = line.split()
    if len(words) != 4 or words[0] != "lease":
        return None
    said = dict(word.split("=", 1) for word in words[2:])
    return Lease((words[1],), said.get("gateway", ""), tuple(d for d in said.get("dns", "").split(",") if d))
