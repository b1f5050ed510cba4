"""A switch's MAC table, from what ovs-vswitchd says of the bridge that it is in (`fdb/show`)."""

from collections.abc import Mapping

from xenet.datapath.base import FDBEntry


def parse_fdb(text: str, tag: int, devices: Mapping[str, str], local: str) -> list[FDBEntry]:
    """The lines of one VLAN, -1 for none. `devices`: port number -> device; LOCAL is the switch's own."""
    found = []
    for line in text.splitlines()[1:]:
        number, vlan, mac, age = line.split()[:4]
        device = devices.get(number) or (local if number == "LOCAL" else "")
        if device and vlan == str(max(tag, 0)):
            found.append(FDBEntry(mac, device, float(age) if age.isdecimal() else 0.0, device == local))
    return found
