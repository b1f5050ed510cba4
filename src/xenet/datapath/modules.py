"""What a kernel can do that may be a module of it, asked without loading one: with `bonding` a bond may come into the machine's own network, with
`ip_gre` devices into each namespace, the guests' too."""

import os
from collections.abc import Callable
from pathlib import Path


def ask_quietly(module: str, find_lack: Callable[[], str]) -> str:
    """What trying it out says, empty where the kernel has it: a module that is installed and not loaded is not tried, but believed."""
    if not Path("/sys/module", module).exists() and _is_installed(module):
        return ""
    try:
        return find_lack()
    except OSError as error:
        return str(error)


def _is_installed(module: str) -> bool:
    folder = Path("/lib/modules", os.uname().release)
    lists = [path.read_text() for name in ("modules.dep", "modules.builtin") if (path := folder / name).exists()]
    return any(f"/{module}.ko" in line.partition(":")[0] for text in lists for line in text.splitlines())
