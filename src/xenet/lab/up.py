"""Putting a lab up and taking it down. What is half up when something fails, or the user has enough, is taken down again."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from xenet.client import Client, named
from xenet.guests import held, namespace
from xenet.lab import operate, pool, process, virtual
from xenet.lab.build import build
from xenet.lab.mixed import finish_frames
from xenet.lab.run import LabError, Misnamed, Run, all_runs, base
from xenet.lab.topology import Host, Lab
from xenet.model.errors import Failure

PASSWORD = "xenet"
"""Root's, unless the user gives another: it stands in the manual, since it guards nothing but namespaces."""
SERVER = "server"
SERVER_S = 30.0
"""How long the server may take to its first word, in seconds."""
XENET = (sys.executable, "-m", "xenet.cli.xenet")

Say = Callable[[str], None]
"""Told what is going on, for people."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the pool of a lab is run."""

    datapath: str = "auto"
    password: str = PASSWORD


@contextmanager
def making(run: Run) -> Iterator[None]:
    """The lab's directory, held by this process: while it lives, `clean` leaves the lab alone. An exception takes the lab down. Raises LabError."""
    try:
        run.directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise LabError(f"lab {run.name} is here already: `xenet lab down --name {run.name}` takes it away") from None
    lock = held.take(run.maker)
    try:
        os.write(lock, f"{os.getpid()}\n".encode())
        yield
    except BaseException:
        down(run)
        raise
    finally:
        os.close(lock)


def up(run: Run, lab: Lab, options: Options, say: Say) -> str:
    """Within `making`: all, up to the last VM's address; the server's ready line. Raises LabError, GuestError, Failure."""
    run.save(lab)
    run.datapath.write_text(options.datapath)
    say("namespaces and cables")
    build(run, lab)
    finish_frames(run, lab, options.datapath)
    say("server")
    namespace.loopback_up()  # In a fresh user namespace it is down, and the server answers there.
    line = start_server(run, options)
    say("agents")
    with Client.connect(str(run.socket)) as client:
        client.login()
        for hosts in (lab.hosts[:1], lab.hosts[1:]):  # the first to come is the pool's coordinator, the same one each time
            bring_hosts(run, hosts, options, client)
        say("virtual machines")
        try:
            pool.create_vms(client, lab)
        except Failure as failure:
            raise LabError(named(" ".join(failure.description), client.call)) from failure
    operate.ensure_addresses(run, lab)
    run.ready.write_text(line + "\n")
    return line


def start_server(run: Run, options: Options, port: str = "0") -> str:
    """The server, answering on the loopback of the caller's namespace; its ready line. Port 0: a free one. Raises LabError."""
    command = [*XENET, "serve", "--no-agent", "--no-tls", "--state", str(run.server), "--listen", f"127.0.0.1:{port}"]
    process.start(run.process(SERVER), command, {"XENET_PASSWORD": options.password})
    return process.first_line(run.process(SERVER), SERVER_S)


def start_agent(run: Run, host: Host, options: Options) -> None:
    """The agent of a host, in the host's namespace, with all its NICs; the first one's address is taken over by its bridge."""
    where = f"/proc/{run.namespace(host.name).pid}/ns/net"
    command = [*XENET, "agent", "--link", str(run.server / "link"), "--name", host.name, "--nics", ",".join(nic.name for nic in host.nics)]
    command += ["--state", str(run.directory / host.name), "--guests", "namespace", "--take-over", "--netns", where]
    command += ["--datapath", host.datapath or options.datapath]
    process.start(run.process(host.name), command, {})


def bring_hosts(run: Run, hosts: tuple[Host, ...], options: Options, client: Client) -> None:
    """Start the agents of these hosts, and wait until the hosts are there. Raises LabError."""
    for host in hosts:
        start_agent(run, host, options)
    pool.wait_for_hosts(client, hosts, lambda: check_agents(run, hosts))


def check_agents(run: Run, hosts: tuple[Host, ...]) -> None:
    """Raises LabError with the last words of an agent of these hosts, or the server, that ended."""
    for name in (SERVER, *(host.name for host in hosts)):
        if not process.is_running(run.process(name)):
            raise LabError(f"{name} ended: {process.last_words(run.process(name))}")


def revive(run: Run, names: Sequence[str] = ()) -> list[str]:
    """Start again what ended, of these names or of all: agents, and the server, where it listened before. It waits until every host that has an
    agent is there, whatever became of its NICs meanwhile; the names of what is new. Raises Misnamed, LabError."""
    lab = run.lab()
    known = (SERVER, *(host.name for host in lab.hosts))
    if unknown := [name for name in names if name not in known]:
        raise Misnamed(f"{', '.join(unknown)}: nothing of it to revive; there are {', '.join(known)}")
    dead = [name for name in names or known if not process.is_running(run.process(name))]
    if not dead:
        return []
    options = Options(datapath=run.datapath.read_text())
    if SERVER in dead:
        start_server(run, options, run.ready.read_text().split()[0].rpartition(":")[2].strip("/"))
    elif not process.is_running(run.process(SERVER)):
        raise LabError("the server is gone, which the agents answer to: `xenet lab revive` starts all of it")
    for host in lab.hosts:
        if host.name in dead:
            start_agent(run, host, options)
    there = tuple(msgspec.structs.replace(host, nics=()) for host in lab.hosts if process.is_running(run.process(host.name)))
    with Client.connect(str(run.socket)) as client:
        client.login()
        pool.wait_for_hosts(client, there, lambda: check_agents(run, there))
    return dead


def down(run: Run) -> None:
    """Everything of the lab away: processes, guests, namespaces (and with them every device), files. Idempotent; not stopped half-way by Ctrl-C."""
    with _undisturbed():
        process.stop_all(_folders(run.directory / "processes"))
        for place in [*run.directory.glob("*/guests/*"), *_folders(run.directory / "namespaces")]:
            if (living := namespace.find(place)) is not None:
                living.kill()
            held.let_go(place / namespace.INIT)
        virtual.end_all(run.directory)
        shutil.rmtree(run.directory, ignore_errors=True)
        _remove_empty(base())


def _folders(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _remove_empty(directory: Path) -> None:
    """The directory of all labs, when the last one has gone, and the `xenet` above it; one that the user named stays."""
    if os.environ.get("XENET_RUN"):
        return
    with suppress(OSError):
        directory.rmdir()
        directory.parent.rmdir()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the signals by which people end programs. Python handles signals in the main thread alone, so others need nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def clean(*, everything: bool = False) -> list[str]:
    """Take down what crashed runs left: labs that nobody is making or owns and that were not to be kept, or whose server is gone.

    The names of them. `everything` takes down labs that are well, too; only those that a living process owns stay in any case.
    """
    gone = [run for run in all_runs() if not run.is_owned() and (everything or not is_well(run))]
    for run in gone:
        down(run)
    return [run.name for run in gone]


def is_well(run: Run) -> bool:
    """Made to be kept, and its server runs."""
    return run.kept.exists() and process.is_running(run.process(SERVER))
