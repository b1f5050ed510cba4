"""Which device is on which of our switches, for who only looks: a question to the database, nothing else."""

from contextlib import closing
from pathlib import Path

from xenet.datapath.openvswitch.database import Database
from xenet.datapath.openvswitch.programs import find_programs
from xenet.datapath.openvswitch.read import is_ours, read_bridge
from xenet.datapath.openvswitch.specs import switches_of
from xenet.datapath.openvswitch.uplinks import nics_of

PATIENCE_S = 2.0


def find_members(socket: Path) -> dict[str, str]:
    """Device -> switch: of VIFs, NICs and the slaves of bonds. Raises OSError where nobody answers."""
    with closing(Database(socket, find_programs().schema)) as database:
        database.connect(PATIENCE_S)
        bridges = {row.name: read_bridge(row) for row in database.rows("Bridge") if is_ours(row)}
    switches = switches_of(bridges)
    found = {device: name for name, switch in switches.items() for device in switch.ports}
    return found | {nic: name for name, switch in switches.items() if switch.uplink for nic in nics_of(switch.uplink)}
