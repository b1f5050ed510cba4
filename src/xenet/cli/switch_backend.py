"""`xe-switch-network-backend`: XenServer's program by this name, for a host of a pool that runs."""

import sys

import click

from xenet.cli.inspect import Connect, asking, fail


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("backend", type=click.Choice(["bridge", "openvswitch", "vswitch"]))
@click.option("--host", default="", help="Its name; none: the pool has one host alone.")
@asking
def switch(backend: str, host: str, connect: Connect) -> None:
    """Make a host's switches by the Linux bridge or by Open vSwitch, whether its VMs run or not. No restart is needed.

    Example: xe-switch-network-backend openvswitch --host host1
    """
    name = "openvswitch" if backend == "vswitch" else backend
    with connect() as client:
        found = {record["name_label"]: ref for ref, record in client.call("host.get_all_records").items()}
        chosen = host or next(iter(found), "")
        if chosen not in found or (not host and len(found) > 1):
            fail(f"which host? Give --host, one of {', '.join(sorted(found))}", 2)
        client.call("host.set_network_backend", found[chosen], name)
    click.echo(f"{chosen}: {name}")


def main() -> None:
    sys.exit(switch())
