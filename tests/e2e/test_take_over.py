"""`xenet serve --take-over`: a NIC in use moves under its bridge while a TCP stream flows over it, and goes back."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from tests.e2e.world import PASSWORD, links, until
from tests.netns import Namespace, cable, namespaces, ping

pytestmark = pytest.mark.kernel
PORT = 5001


@pytest.fixture
def wire() -> Iterator[tuple[Namespace, Namespace]]:
    """A host with an address and a default route on eth0, and the router at the other end of its cable."""
    with namespaces(2) as (host, router):
        cable(host, "eth0", router, "r0")
        host.ip("address", "add", "10.0.0.1/24", "dev", "eth0")
        router.ip("address", "add", "10.0.0.254/24", "dev", "r0")
        host.ip("route", "add", "default", "via", "10.0.0.254")
        until(lambda: "tentative" not in host.ip("address"))
        assert ping(host, "10.0.0.254")
        yield host, router


def xenet(host: Namespace, state: Path, *options: str, command: str = "serve") -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "xenet.cli.xenet", command, "--state", str(state), "--netns", f"/proc/{os.getpid()}/fd/{host.fd}", *options]
    env = {**os.environ, "XENET_PASSWORD": PASSWORD}
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ready_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def finish(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> tuple[int, str]:
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def addresses(namespace: Namespace, device: str) -> list[str]:
    found: list[dict[str, Any]] = json.loads(namespace.ip("-j", "-4", "address", "show", "dev", device))
    return [f"{a['local']}/{a['prefixlen']}" for entry in found for a in entry.get("addr_info", [])]


def default_route(namespace: Namespace) -> tuple[str, str]:
    route = json.loads(namespace.ip("-j", "route", "show", "default"))[0]
    return route["gateway"], route["dev"]


class Stream:
    """One TCP connection over which numbers flow; none may be missing, and it is never made anew."""

    def __init__(self, host: Namespace, router: Namespace) -> None:
        listener: socket.socket = router(socket.create_server, ("10.0.0.254", PORT))
        self.near: socket.socket = host(socket.create_connection, ("10.0.0.254", PORT))
        self.far, _ = listener.accept()
        listener.close()
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._stop.wait(0.002):
            self.near.sendall(self.sent.to_bytes(8, "big"))
            self.sent += 1

    def close(self) -> list[int]:
        """The numbers that arrived."""
        self._stop.set()
        self._thread.join()
        self.near.close()
        self.far.settimeout(30)
        data = b""
        while chunk := self.far.recv(65536):
            data += chunk
        self.far.close()
        return [int.from_bytes(data[at : at + 8], "big") for at in range(0, len(data), 8)]


def test_a_nic_in_use_is_refused_without_take_over(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    host, _ = wire
    before = host.ip("-j", "-d", "address"), host.ip("-j", "route")
    process = xenet(host, tmp_path, "--nics", "eth0")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out == ""
    assert "eth0" in err
    assert "--take-over" in err
    assert (host.ip("-j", "-d", "address"), host.ip("-j", "route")) == before


def test_a_nic_that_is_not_there_is_refused(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    process = xenet(wire[0], tmp_path, "--nics", "eth7")
    assert "eth7" in process.communicate(timeout=30)[1]
    assert process.returncode == 1


def test_two_agents_do_not_share_a_host(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """With a state directory each they would undo each other's work for ever."""
    host, _ = wire
    host.ip("address", "flush", "dev", "eth0")
    first = xenet(host, tmp_path / "first", "--nics", "eth0")
    try:
        assert ready_line(first)
        before = host.ip("-br", "link")
        second = xenet(host, tmp_path / "second", "--nics", "eth0")
        assert "keeps this host's networking" in second.communicate(timeout=30)[1]
        assert second.returncode == 1
        assert host.ip("-br", "link") == before
    finally:
        assert finish(first)[0] == 0


def test_a_stream_lives_through_take_over_kill_restart_and_down(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    host, router = wire
    mac = links(host)["eth0"]["address"]
    for end, device in ((host, "eth0"), (router, "r0")):
        end.ip("link", "set", device, "mtu", "1400")
    stream = Stream(host, router)
    process = xenet(host, tmp_path, "--nics", "eth0", "--take-over", "--listen", "127.0.0.1:0")
    try:
        url = ready_line(process).split()[0].removeprefix("XENET_URL=")
        assert addresses(host, "xenbr0") == ["10.0.0.1/24"]
        assert addresses(host, "eth0") == []
        assert default_route(host) == ("10.0.0.254", "xenbr0")
        assert links(host)["xenbr0"]["address"] == mac
        assert {links(host)[device]["mtu"] for device in ("eth0", "xenbr0")} == {1400}, "what the segment needs"
        check_management(url)
        time.sleep(0.5)
        assert finish(process)[0] == 0
        assert addresses(host, "xenbr0") == ["10.0.0.1/24"], "packets flow on without xenet"
        process = xenet(host, tmp_path, "--nics", "eth0", "--take-over", "--listen", "127.0.0.1:0")
        url = ready_line(process).split()[0].removeprefix("XENET_URL=")
        check_management(url)
    finally:
        finish(process, signal.SIGKILL)
    down = xenet(host, tmp_path, command="down")
    assert down.communicate(timeout=60) == ("", "")
    assert down.returncode == 0
    assert addresses(host, "eth0") == ["10.0.0.1/24"]
    assert default_route(host) == ("10.0.0.254", "eth0")
    assert links(host)["eth0"]["mtu"] == 1400
    assert "xenbr0" not in links(host)
    assert ping(host, "10.0.0.254")
    arrived = stream.close()
    assert arrived == list(range(stream.sent))
    assert stream.sent > 200


def check_management(url: str) -> None:
    session = XenAPI.Session(url)
    session.login_with_password("root", PASSWORD)
    pif = session.xenapi.PIF.get_record(session.xenapi.host.get_management_interface(session.xenapi.host.get_all()[0]))
    session.xenapi.session.logout()
    session("close")()
    wanted = {"device": "eth0", "IP": "10.0.0.1", "netmask": "255.255.255.0", "gateway": "10.0.0.254", "ip_configuration_mode": "Static"}
    assert {name: pif[name] for name in wanted} == wanted
    assert pif["management"] is True


def test_a_silent_gateway_brings_the_address_back(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    host, router = wire
    router.ip("link", "set", "r0", "arp", "off")
    before = addresses(host, "eth0"), default_route(host)
    process = xenet(host, tmp_path, "--nics", "eth0", "--take-over", "--listen", "127.0.0.1:0")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "10.0.0.254" in err
    assert (addresses(host, "eth0"), default_route(host)) == before
    assert "xenbr0" not in links(host)
