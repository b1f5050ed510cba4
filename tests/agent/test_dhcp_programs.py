"""What the clients' scripts say, run by a real shell as the clients run them."""

import subprocess
from pathlib import Path

import pytest

from xenet.agent.dhcp_programs import DHCLIENT, UDHCPC, Program, parse_lease
from xenet.model.hidden import Lease

FOUR = {"ip": "10.1.0.60", "mask": "24", "router": "10.1.0.254 10.1.0.253", "dns": "10.1.0.53 10.1.0.54"}
SIX = {"new_ip6_address": "2001:db8::60", "new_ip6_prefixlen": "128", "new_dhcp6_name_servers": "2001:db8::53 2001:db8::54"}


@pytest.mark.parametrize(
    ("program", "event", "given", "lease"),
    [
        (UDHCPC, "bound", FOUR, Lease(("10.1.0.60/24",), "10.1.0.254", ("10.1.0.53", "10.1.0.54"))),
        (UDHCPC, "renew", {"ip": "10.1.0.61", "mask": "8"}, Lease(("10.1.0.61/8",))),
        (UDHCPC, "deconfig", {}, None),
        (UDHCPC, "leasefail", {}, None),
        (DHCLIENT, "BOUND6", SIX, Lease(("2001:db8::60/128",), "", ("2001:db8::53", "2001:db8::54"))),
        (DHCLIENT, "RENEW6", {**SIX, "new_dhcp6_name_servers": ""}, Lease(("2001:db8::60/128",))),
        (DHCLIENT, "EXPIRE6", {"old_ip6_address": "2001:db8::60"}, None),
        (DHCLIENT, "PREINIT6", {}, None),
    ],
)
def test_a_script_says_what_was_given(tmp_path: Path, program: Program, event: str, given: dict[str, str], lease: Lease | None) -> None:
    program.prepare(tmp_path)
    script = [str(tmp_path / f"{program.name}.sh"), event]
    said = subprocess.run(script, env={"PATH": "/usr/bin:/bin", "reason": event, **given}, capture_output=True, text=True, check=True).stdout
    assert parse_lease(said.strip()) == lease


def test_a_client_that_had_an_address_asks_for_it_again(tmp_path: Path) -> None:
    assert UDHCPC.command("xenbr0", "10.1.0.60", tmp_path)[-2:] == ["-r", "10.1.0.60"]
    assert "-r" not in UDHCPC.command("xenbr0", "", tmp_path)


def test_each_bridge_has_its_own_memory_of_leases(tmp_path: Path) -> None:
    for bridge in ("xenbr0", "xenbr1"):
        assert DHCLIENT.command(bridge, "", tmp_path)[-1] == bridge
    assert {path.name for path in tmp_path.iterdir()} == {"dhclient-xenbr0.leases", "dhclient-xenbr1.leases"}
