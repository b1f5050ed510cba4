"""A pool for tests: a server and an agent in processes of their own, hosts and guests in namespaces, the published XenAPI client.

Server and agent are separate processes here, so that either can be killed and started again while packets flow.
"""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import XenAPI

from tests.e2e.forge import Forked, forge
from tests.netns import Namespace
from xenet.datapath.openvswitch.daemons import Daemons
from xenet.guests.namespace import NamespaceGuests
from xenet.guests.qemu import QemuGuests

PASSWORD = "a password for tests"
VM_RECORD = {
    "is_a_template": False,
    "affinity": "OpaqueRef:NULL",
    **dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"), "1"),
    **dict.fromkeys(("VCPUs_max", "VCPUs_at_startup"), "1"),
    "actions_after_shutdown": "destroy",
    "actions_after_reboot": "restart",
    "actions_after_crash": "restart",
    "HVM_boot_policy": "",
    "HVM_boot_params": {},
    "platform": {},
    "recommendations": "",
}
ETH_P_ALL = 3
PATIENCE = float(os.environ.get("XENET_PATIENCE", "1"))
"""How many times slower than usual the machine may be: the emulated one of tools/stock_kernel.py says it."""


def until(true: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value; an assertion when there is none in time."""
    end = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.02 * PATIENCE)
    raise AssertionError(f"not within {seconds * PATIENCE:g} s: {true}")


class Inside:
    """A thread in an existing network namespace: call it with what shall be done there."""

    def __init__(self, fd: int) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._thread.submit(_enter, fd).result()

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._thread.submit(function, *args, **kwargs).result()

    def command(self, *argv: str) -> str:
        done = self(subprocess.run, argv, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr.strip()}"
        return str(done.stdout)

    def start(self, *argv: str) -> "subprocess.Popen[str]":
        popen: subprocess.Popen[str] = self(subprocess.Popen, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return popen

    def close(self) -> None:
        self._thread.shutdown()


def _enter(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


class Pool:
    """One server, any number of hosts. `program` replaces `python -m xenet.cli.xenet` for the next process started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes] | Forked] = {}
        self.hosts: dict[str, Namespace] = {}
        self.nics: dict[str, str] = {}
        self.url = ""
        self.socket = ""
        self.listen = "127.0.0.1:0"
        self.insides: list[Inside] = []
        self._session: Any = None

    # --- processes ---------------------------------------------------------------------------------

    def start_server(self, *program: str) -> None:
        ready = self.folder / "ready"
        ready.write_text("")
        arguments = ["-v", "serve", "--no-agent", "--state", str(self.folder), "--listen", self.listen]
        self._run("server", program, arguments, ready, XENET_PASSWORD=PASSWORD)
        until(lambda: ready.read_text().endswith("\n") or self._has_ended("server"))
        found = re.search(r"XENET_URL=(\S+) XENET_USER=root XENET_SOCKET=(\S+)", ready.read_text())
        assert found, f"no ready line but {ready.read_text()!r}; {(self.folder / 'server.log').read_text()[-2000:]}"
        self.url, self.socket = found[1], found[2]
        self._disconnect()

    def start_agent(self, name: str, *program: str, extra: tuple[str, ...] = (), netns: Namespace | None = None, nics: str = "eth0") -> None:
        if netns is not None:
            self.hosts[name], self.nics[name] = netns, nics
        arguments = ["-v", "agent", "--link", str(self.folder / "link")]
        arguments += ["--state", str(self.folder / name), "--name", name, "--nics", self.nics[name], "--guests", "namespace"]
        arguments += ["--netns", f"/proc/{os.getpid()}/fd/{self.hosts[name].fd}", *extra]
        self._run(name, program, arguments, self.folder / f"{name}.log")

    def _run(self, name: str, program: Sequence[str], arguments: Sequence[str], out: Path, **environment: str) -> None:
        """What it prints goes to `out`, what it logs to its log."""
        log = self.folder / f"{name}.log"
        if PATIENCE > 1 and not program:
            self.processes[name] = forge().start(arguments, out, log, environment)
            return
        command = [*(program or (sys.executable, "-m", "xenet.cli.xenet")), *arguments]
        with out.open("ab") as stdout, log.open("ab") as stderr:
            self.processes[name] = subprocess.Popen(command, env={**os.environ, **environment}, stdout=stdout, stderr=stderr)

    def _has_ended(self, name: str) -> bool:
        try:
            self.processes[name].wait(0)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self, name: str) -> None:
        """kill -9."""
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def stop(self, name: str) -> int:
        """SIGTERM; the exit status."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(20 * PATIENCE)

    def close(self) -> None:
        """Everything, whatever of it fails."""
        with ExitStack() as last:
            for name in self.hosts:
                last.callback(self._stop_guests, name)
                last.callback(Daemons(self.folder / name / "openvswitch").stop)
            for name in list(self.processes):
                last.callback(self.kill, name)
            for inside in self.insides:
                last.callback(inside.close)
            last.callback(self._disconnect)

    def _stop_guests(self, host: str) -> None:
        with closing(QemuGuests(self.folder / host / "machines")) as machines:
            for guests in (NamespaceGuests(self.folder / host / "guests"), machines):
                for vm in guests.observe():
                    guests.stop(vm)

    # --- the API -----------------------------------------------------------------------------------

    @property
    def api(self) -> Any:
        """The published client, logged in."""
        if self._session is None:
            self._session = XenAPI.Session(self.url)
            self._session.login_with_password("root", PASSWORD)
        return self._session.xenapi

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session("close")()
            self._session = None

    def wait_for(self, *names: str) -> None:
        """Until these hosts are live and their PIFs up."""
        until(lambda: all(self._is_up(name) for name in names), 60)

    def _is_up(self, name: str) -> bool:
        found = self.api.host.get_by_name_label(name)
        if not found or not self.api.host_metrics.get_live(self.api.host.get_metrics(found[0])):
            return False
        pifs = [self.api.PIF.get_record(pif) for pif in self.api.host.get_PIFs(found[0])]
        return all(pif["currently_attached"] for pif in pifs if pif["managed"])

    def host(self, name: str) -> str:
        return str(self.api.host.get_by_name_label(name)[0])

    def network(self, name: str) -> str:
        """A new internal network."""
        return str(self.api.network.create({"name_label": name, "other_config": {}}))

    def external(self, bridge: str = "xenbr0") -> str:
        return next(ref for ref, record in self.api.network.get_all_records().items() if record["bridge"] == bridge)

    def vm(self, name: str, *networks: str, **other_config: str) -> str:
        """A halted VM with a VIF on each of the networks."""
        vm = self.api.VM.create({**VM_RECORD, "name_label": name, "other_config": other_config})
        for device, network in enumerate(networks):
            self.vif(vm, network, str(device))
        return str(vm)

    def vif(self, vm: str, network: str, device: str = "0") -> str:
        qos: dict[str, Any] = {"qos_algorithm_type": "", "qos_algorithm_params": {}}
        record = {"device": device, "network": network, "VM": vm, "MAC": "", "MTU": "1500", "other_config": {}, **qos}
        return str(self.api.VIF.create(record))

    def start(self, vm: str, host: str, *addresses: str) -> Inside:
        """Start the VM there and give its eth0, eth1 .. these addresses; a thread inside the guest."""
        self.api.VM.start_on(vm, self.host(host), False, False)
        guest = self.inside(vm, host)
        for device, address in enumerate(addresses):
            guest.command("ip", "address", "add", address, "dev", f"eth{device}")
        return guest

    def inside(self, vm: str, host: str) -> Inside:
        fd = NamespaceGuests(self.folder / host / "guests").netns(self.api.VM.get_uuid(vm))
        assert fd is not None
        inside = Inside(fd)
        os.close(fd)
        self.insides.append(inside)
        return inside

    def device(self, vif: str) -> str:
        """The host's device of a VIF."""
        record = self.api.VIF.get_record(vif)
        return f"vif{self.api.VM.get_domid(record['VM'])}.{record['device']}"


@contextmanager
def pool(folder: Path) -> Iterator[Pool]:
    """A pool with its server; everything is gone at the end."""
    made = Pool(folder)
    try:
        made.start_server()
        yield made
    finally:
        made.close()


def links(namespace: Namespace) -> dict[str, dict[str, Any]]:
    """`ip -d link` by name, without what is being deleted."""
    found: list[dict[str, Any]] = json.loads(namespace.ip("-j", "-d", "link"))
    return {link["ifname"]: link for link in found}


def ports(namespace: Namespace, bridge: str) -> set[str]:
    return {name for name, link in links(namespace).items() if link.get("master") == bridge}


@contextmanager
def capture(namespace: Callable[..., Any], device: str) -> Iterator[list[bytes]]:
    """The frames that pass a device while the block runs; read the list after the block."""
    frames: list[bytes] = []
    sock: socket.socket = namespace(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.bind((device, ETH_P_ALL))
        sock.setblocking(False)
        yield frames
        time.sleep(0.05)
        while True:
            try:
                frames.append(sock.recv(65536))
            except BlockingIOError:
                break
    finally:
        sock.close()


def send(device: str, frame: bytes) -> None:
    """Put a frame on the wire as it is."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        sock.send(frame)
