"""Step 8 of the tour: a VIF that may send so much, and what it does send."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from xenet.lab.build import inside
from xenet.lab.tour.stage import CommandFailed, Stage, soon

KBPS = 1250
"""Kilobytes of 1,024 bytes a second: 10.24 Mbit/s."""
SECONDS = 3
SENDER, RECEIVER = "vm1", "vm3"


def rate_limit(stage: Stage) -> None:
    """A VIF limited to 1,250 kB/s while its VM runs: asked and measured"""
    vif = stage.uuid("vif", "vif", f"vm-name-label={SENDER}")
    address = _address(stage, RECEIVER)
    before = _measured(stage, SENDER, RECEIVER, address)
    stage.check(f"without a limit {SENDER} sends {RECEIVER} {before:,.0f} kB/s", before > 4 * KBPS)
    stage.xe("vif-param-set", f"uuid={vif}", "qos_algorithm_type=ratelimit", f"qos_algorithm_params:kbps={KBPS}")
    sender = stage.uuid(SENDER, "vm", f"name-label={SENDER}")
    port = f"vif{stage.xe('vm-param-get', f'uuid={sender}', 'param-name=dom-id')}.0"
    limiter = f"ifb{port[3:]}"
    stage.check(f"{limiter} stands behind {port} on host1, a moment later", soon(lambda: limiter in stage.links("host1")))
    stage.show(stage.within("host1", "tc", "qdisc", "show", "dev", limiter))
    limited = _measured(stage, SENDER, RECEIVER, address)
    stage.check(f"asked {KBPS:,} kB/s, measured {limited:,.0f} kB/s of TCP's data, headers not counted", 0.8 * KBPS < limited < 1.05 * KBPS)
    back = _measured(stage, RECEIVER, SENDER, _address(stage, SENDER))
    stage.check(f"what it receives is not limited: {RECEIVER} sends it {back:,.0f} kB/s", back > 4 * KBPS)
    stage.xe("vif-param-set", f"uuid={vif}", "qos_algorithm_type=")
    stage.check(f"{limiter} goes with the limit", soon(lambda: limiter not in stage.links("host1")))
    after = _measured(stage, SENDER, RECEIVER, address)
    stage.check(f"and it sends {after:,.0f} kB/s again", after > 4 * KBPS)


def _address(stage: Stage, vm: str) -> str:
    """The guest's own IPv4 address on its first NIC."""
    found = json.loads(stage.quietly(vm, "ip", "-j", "-4", "address", "show", "dev", "eth0"))
    return str(found[0]["addr_info"][0]["local"])


def _measured(stage: Stage, source: str, target: str, address: str) -> float:
    """What TCP carries from one guest to the other, in kB/s."""
    with _server(stage, target):
        said = stage.within(source, "iperf3", "-c", address, "-t", str(SECONDS), "-J")
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 8 / 1024


@contextmanager
def _server(stage: Stage, vm: str) -> Iterator[None]:
    """One that serves once. Raises CommandFailed when it does not begin."""
    command = inside(stage.pid(vm), ["iperf3", "-s", "-1"])
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not soon(lambda: ":5201 " in stage.quietly(vm, "ss", "-ltn")):
            raise CommandFailed(f"{vm}: iperf3 does not listen")
        yield
    finally:
        server.terminate()
        server.wait()
