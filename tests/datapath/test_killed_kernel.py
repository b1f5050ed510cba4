"""An agent that is killed in the middle of a batch: whatever it left, the next one mends, and nothing is left over."""

import os
import subprocess
import sys
import time
from random import Random

import pytest
from msgspec.structs import replace

from tests.datapath.bridge_host import Host, external, hosts, needs_tap, port, switch, tap
from tests.netns import ping
from xenet.plan.view import LockView

pytestmark = pytest.mark.kernel
AGENT = """
import os, sys
from msgspec import structs
from tests.datapath.bridge_host import port, switch, tap
from xenet.datapath.bridge import BridgeDatapath
from xenet.plan.diff import diff_host
from xenet.plan.steps import AttachUplink, DetachUplink
from xenet.plan.view import HostView, LockView, UplinkView

guests = sys.argv[1:]
datapath = BridgeDatapath(lambda vm: os.open(guests[int(vm.removeprefix("vm-")) - 1], os.O_RDONLY))
ports = [*(port(vm, index) for vm in (1, 2) for index in range(12)), tap(3), tap(4)]
locks = (None, LockView(), LockView(("10.0.0.1",), ("2001:db8::1",)))
ports = [structs.replace(view, rate=102400 * (view.index % 2), lock=locks[view.index % 3]) for view in ports]
views = [HostView({"xapi0": switch(0, *ports[n:], uplink=UplinkView("eth0")), "xapi1": switch(1, *ports[:n])}) for n in (0, 5, 26)] + [HostView()]
print("on", flush=True)
while True:
    for view in views:
        assert datapath.do(diff_host(view, HostView(datapath.switches()))) == []
    datapath.reap()
"""


def killed_after(host: Host, seconds: float) -> None:
    """Start an agent that builds and takes down all the time, and kill it."""
    guests = [f"/proc/{os.getpid()}/fd/{ns.fd}" for ns in host.guests]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    agent = host.ns(subprocess.Popen, [sys.executable, "-c", AGENT, *guests], stdout=subprocess.PIPE, env=environment)
    with agent:
        try:
            assert agent.stdout.readline() == b"on\n"
            time.sleep(seconds)
            assert agent.poll() is None
        finally:
            agent.kill()


@needs_tap
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_time(seed):
    random, locked = Random(seed), replace(port(2), lock=LockView(("10.0.0.2",)))
    with hosts() as host:
        for _ in range(3):
            killed_after(host, random.uniform(0, 0.15))
            host.restart()
            if random.random() < 0.5:
                assert host.ns(host.datapath.reap) == 0
            host.reach(external(host, port(1), locked, tap(3)), switch(1, port(2, 1)))
            for number, ns in enumerate(host.guests, 1):
                ns.ip("address", "add", f"10.0.0.{number}/24", "dev", "eth0")
            assert ping(host.guests[0], "10.0.0.2")
            host.guests[1].ip("address", "add", "10.0.0.3/24", "dev", "eth0")
            assert not ping(host.guests[0], "10.0.0.3", wait=0.3), "the lock holds"
            host.reach()
            assert host.ns(host.datapath.reap) == 0
            assert host.names() == {"lo", "eth0"}
            assert host.ns.command("nft", "list", "tables") == ""
            assert [ns.ip("-br", "link").split()[0] for ns in host.guests] == ["lo", "lo"]
