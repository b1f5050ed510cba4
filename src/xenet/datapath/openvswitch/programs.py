"""Where Open vSwitch's programs are: on the path, or unpacked into the environment that xenet runs in (tools/setup.sh)."""

import os
import shutil
import sys
from functools import cache
from pathlib import Path

import msgspec

SYSTEM_SOCKET = Path("/var/run/openvswitch/db.sock")
"""Where the database of an Open vSwitch that the host itself runs answers."""
LACKING = "no Open vSwitch here: install it (Debian: apt-get install openvswitch-switch)"
_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/usr/lib/openvswitch-switch", "/usr/local/bin", "/usr/bin")
_SCHEMAS = ("/usr/share/openvswitch", "/usr/local/share/openvswitch")


class NoOpenVSwitch(OSError):
    """The text says what to do about it."""


class Programs(msgspec.Struct, frozen=True):
    """The programs, the database's schema, and what the programs need in their environment."""

    vswitchd: str
    ovsdb_server: str
    ovsdb_tool: str
    ofctl: str
    vsctl: str
    schema: Path
    environment: dict[str, str] = {}


@cache
def find_programs() -> Programs:
    """Raises NoOpenVSwitch."""
    own = Path(sys.prefix, "openvswitch")
    system = _programs([*os.environ.get("PATH", "").split(":"), *_FOLDERS], _SCHEMAS, {})
    unpacked = [str(own / folder) for folder in ("usr/sbin", "usr/lib/openvswitch-switch", "usr/bin")]
    found = system or _programs(unpacked, (str(own / "usr/share/openvswitch"),), _libraries(own))
    if found is None:
        raise NoOpenVSwitch(LACKING)
    return found


def _libraries(root: Path) -> dict[str, str]:
    folders = [str(folder) for folder in root.glob("usr/lib/*-linux-gnu*")] + [str(folder) for folder in root.glob("lib/*-linux-gnu*")]
    return {"LD_LIBRARY_PATH": ":".join(folders)}


def _programs(folders: list[str], schemas: tuple[str, ...], environment: dict[str, str]) -> Programs | None:
    path = ":".join(folders)
    names = ("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-ofctl", "ovs-vsctl")
    programs = [shutil.which(name, path=path) for name in names]
    schema = next((file for folder in schemas if (file := Path(folder, "vswitch.ovsschema")).exists()), None)
    if schema is None or None in programs:
        return None
    vswitchd, server, tool, ofctl, vsctl = (program or "" for program in programs)
    return Programs(vswitchd, server, tool, ofctl, vsctl, schema, environment)
