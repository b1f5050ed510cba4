"""What is said to ovs-vswitchd by ovs-ofctl(8): a process for a batch of flows on a bridge, or for a look at them."""

import subprocess
from pathlib import Path

from xenet.datapath.openvswitch.programs import find_programs

PATIENCE_S = 5
_OLD = ("set-frags", "get-frags", "parse-flows", "dump-flows")
"""What is asked in the protocol of ovs-ofctl's own choice."""


def ofctl(*arguments: str, given: str = "") -> str:
    """What it said; `given` is its standard input. Raises OSError with what it complained of."""
    programs = find_programs()
    version = [] if set(_OLD) & set(arguments) else ["-O", "OpenFlow14"]
    command = [programs.ofctl, *version, "-vconsole:off", f"--timeout={PATIENCE_S}", *arguments]
    environment = {**programs.environment, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ovs-ofctl: {' '.join(done.stderr.split())}")
    return done.stdout


def dump_flows(management: Path) -> list[str]:
    """The flows of the bridge that answers OpenFlow there, one a line. Raises OSError."""
    return [line for line in ofctl("dump-flows", f"unix:{management}").splitlines() if "actions=" in line]
