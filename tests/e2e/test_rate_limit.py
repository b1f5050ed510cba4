"""A VIF's rate limit, from the published client to the frames that get through while a guest keeps sending."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.world import Inside, links, pool, until
from tests.netns import cable, namespaces

pytestmark = pytest.mark.kernel
FRAME = 1442
OFFERED = 4_000_000
"""Bytes a second that the guest sends, limited or not."""


def received() -> int:
    """Bytes that eth0 has heard."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.split()[0] == "eth0:")


def rate(guest: Inside, seconds: float = 1.0) -> float:
    """Bytes a second that the guest hears."""
    before, start = guest(received), time.monotonic()
    time.sleep(seconds)
    return float((guest(received) - before) / (time.monotonic() - start))


@contextmanager
def sending(guest: Inside, target: str) -> Iterator[None]:
    """Datagrams at the offered rate while the block runs, which needs the guest's thread for itself."""
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sent, start = 0, time.monotonic()
            while not over.wait(0.005):
                while sent < OFFERED * (time.monotonic() - start):
                    with suppress(OSError):  # it has no NIC now and then
                        sock.sendto(bytes(FRAME - 42), (target, 9))
                    sent += FRAME

    thread = threading.Thread(target=guest, args=(send,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_limit_holds_at_once_and_goes_again(tmp_path: Path) -> None:
    with namespaces(2) as (host, far), pool(tmp_path) as world:
        cable(host, "eth0", far, "far0")
        world.start_agent("host1", netns=host)
        world.wait_for("host1")
        api, network = world.api, world.network("slow")
        vms = [world.vm(name, network) for name in ("sender", "receiver", "other")]
        sender, receiver, other = (world.start(vm, "host1", f"10.7.0.{number}/24") for number, vm in enumerate(vms, 1))
        beside = world.inside(vms[0], "host1")
        vif = api.VM.get_VIFs(vms[0])[0]
        device = world.device(vif)
        index = links(host)[device]["ifindex"]
        with sending(sender, "10.7.0.2"):
            assert until(lambda: rate(receiver) > OFFERED / 2)
            api.VIF.set_qos_algorithm_type(vif, "ratelimit")
            assert rate(receiver) > OFFERED / 2, "no kbps yet, hence no limit"
            api.VIF.set_qos_algorithm_params(vif, {"kbps": "100"})
            until(lambda: f"ifb{device[3:]}" in links(host))
            assert 50_000 < rate(receiver, 3) < 200_000
            with sending(other, "10.7.0.1"):
                assert rate(beside, 2) > OFFERED / 2, "what other VMs send passes as before"
            api.VIF.remove_from_qos_algorithm_params(vif, "kbps")
            api.VIF.add_to_qos_algorithm_params(vif, "kbps", "1000")
            assert until(lambda: 500_000 < rate(receiver) < 2_000_000)
            api.VIF.unplug(vif)
            api.VIF.plug(vif)
            assert links(host)[f"ifb{device[3:]}"]["ifalias"].endswith(api.VIF.get_uuid(vif)), "limited from its first frame on"
            api.VIF.set_qos_algorithm_type(vif, "")
            until(lambda: f"ifb{device[3:]}" not in links(host))
            beside.command("ip", "address", "replace", "10.7.0.1/24", "dev", "eth0")
            assert until(lambda: rate(receiver) > OFFERED / 2)
        assert links(host)[device]["ifindex"] != index, "plugged anew, once"
