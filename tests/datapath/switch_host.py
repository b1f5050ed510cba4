"""The same host with its datapath on Open vSwitch, an Open vSwitch of its own below."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.datapath.bridge_host import Host
from tests.netns import Namespace, namespaces
from xenet.datapath.openvswitch.backend import OpenVSwitchDatapath
from xenet.datapath.openvswitch.daemons import Daemons
from xenet.datapath.openvswitch.place import Place
from xenet.datapath.openvswitch.programs import find_programs
from xenet.datapath.openvswitch.userspace import kernel_has_module


def started(host: Host, daemons: Daemons) -> OpenVSwitchDatapath:
    """A datapath of this host by these."""
    return host.ns(OpenVSwitchDatapath, host._netns, Place(daemons.socket, daemons, not kernel_has_module()))


class SwitchHost(Host):
    """`folder` is its Open vSwitch's."""

    def __init__(self, host: Namespace, far: Namespace, guests: list[Namespace], folder: Path) -> None:
        self.daemons = Daemons(folder)
        super().__init__(host, far, guests)

    def _start(self) -> OpenVSwitchDatapath:
        return started(self, self.daemons)

    def vsctl(self, *argv: str) -> str:
        """As an administrator would say it."""
        return self._said(find_programs().vsctl, f"--db=unix:{self.daemons.socket}", "--timeout=10", *argv)

    def ofctl(self, command: str, bridge: str, *argv: str) -> str:
        """An OpenFlow controller's word."""
        return self._said(find_programs().ofctl, command, f"unix:{self.daemons.folder / bridge}.mgmt", *argv)

    def _said(self, *command: str) -> str:
        programs = find_programs()
        done = subprocess.run(command, env=programs.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def switch_hosts(guests: int = 2) -> Iterator[SwitchHost]:
    with tempfile.TemporaryDirectory() as folder, namespaces(guests + 2) as (host, far, *others):
        made = SwitchHost(host, far, others, Path(folder, "openvswitch"))
        try:
            yield made
        finally:
            made.datapath.close()
            made.daemons.stop()
