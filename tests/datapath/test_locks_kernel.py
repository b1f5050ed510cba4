"""Locks on the real kernel: which forged and which honest frames pass, what a change lets through, what others break, what is left."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest
from msgspec import structs

from tests.datapath.bridge_host import Host, create, external, hosts, needs_tap, port, remove, switch, tap
from tests.datapath.forgeries import FORGED, HONEST, ME, OTHER, TO_THE_BRIDGE, frames, names
from tests.datapath.test_limits_kernel import hypervisor
from tests.e2e.world import capture
from tests.netns import Namespace, namespaces, ping
from tests.plan.pools import network, vif
from xenet.datapath import locks as locks_module
from xenet.datapath import nft
from xenet.datapath.batch import Refused
from xenet.model.vif import VIFLockingMode
from xenet.plan.lock import lock_of
from xenet.plan.steps import SetPort
from xenet.plan.view import LockView, PortView

pytestmark = pytest.mark.kernel
ALL, GOOD, BAD = frames({**HONEST, **FORGED}), frames(HONEST), frames(FORGED)
LOCK = LockView(("10.0.0.1", "10.8.0.0/24"), ("2001:db8::1", "fd00:8::/64", "fe80::ff:fe01:0"))
NARROW = LockView(("10.0.0.1",))


@pytest.fixture
def host() -> Iterator[Host]:
    with hosts() as made:
        yield made


def locked(view: PortView, lock: LockView | None = LOCK) -> PortView:
    return structs.replace(view, lock=lock)


def send(namespace: Namespace, sent: dict[str, list[bytes]], device: str = "eth0") -> None:
    def act() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((device, 0))
            for frame in (frame for named in sent.values() for frame in named):
                sock.send(frame)

    namespace(act)


def passed(host: Host, sent: dict[str, list[bytes]]) -> set[str]:
    """What arrives at the other guest of what the first one sends; on the cable it must be the same."""
    with capture(host.guests[1], "eth0") as seen, capture(host.far, "wire") as outside:
        send(host.guests[0], sent)
    assert names(outside, sent) == names(seen, sent)
    return names(seen, sent)


def lock_seen(host: Host, device: str = "vif1.0") -> LockView | None:
    """As it is observed, after the kernel's news; a fresh look must see the same."""
    host.datapath.refresh()
    views = host.datapath.switches()
    assert views == host.truth()
    return next(view.ports[device].lock for view in views.values() if device in view.ports)


def tables(host: Host) -> str:
    return host.ns.command("nft", "list", "tables")


def learned(host: Host) -> set[str]:
    return {entry.mac for entry in host.datapath.fdb("xapi0") if entry.device == "vif1.0" and not entry.local}


# --- frames ----------------------------------------------------------------------------------------


def test_a_locked_guest_sends_what_it_may_and_nothing_else(either):
    either.reach(external(either, locked(port(1)), port(2)))
    assert lock_seen(either) == LOCK
    assert passed(either, ALL) == GOOD.keys()
    assert learned(either) == {ME}


def test_an_unlocked_guest_sends_what_it_likes_beside_a_locked_one(either):
    either.reach(external(either, port(1), locked(port(2))))
    assert passed(either, ALL) == ALL.keys()
    assert learned(either) == {ME, OTHER}


def test_a_disabled_guest_neither_sends_nor_hears(either):
    either.reach(external(either, structs.replace(port(1), up=False), port(2)))
    with capture(either.guests[1], "eth0") as seen:
        send(either.guests[0], GOOD)
    with capture(either.guests[0], "eth0") as heard:
        send(either.guests[1], GOOD)
        send(either.far, GOOD, "wire")
    assert names(seen, GOOD) == names(heard, GOOD) == set()
    assert "NO-CARRIER" in either.guests[0].ip("link", "show", "eth0")
    assert tables(either) == "", "which needs no nftables"
    either.reach(external(either, port(1), port(2)))
    assert passed(either, GOOD) == GOOD.keys()


def test_without_addresses_a_guest_can_ask_for_one_and_no_more(either):
    either.reach(external(either, locked(port(1), LockView()), port(2)))
    assert passed(either, ALL) == {"ARP: probe", "IPv4: DHCP discover"}


def test_what_a_locked_guest_hears_is_not_restricted(either):
    either.reach(external(either, locked(port(1), NARROW), port(2)))
    with capture(either.guests[0], "eth0") as heard:
        send(either.guests[1], ALL)
    assert names(heard, ALL) == ALL.keys()


def test_the_bridge_learns_no_forged_mac_from_what_it_keeps_to_itself(host):
    sent = frames(TO_THE_BRIDGE)
    host.reach(external(host, locked(port(1)), port(2)))
    send(host.guests[0], sent)
    assert OTHER not in learned(host)
    host.reach(external(host, port(1), port(2)))
    send(host.guests[0], sent)
    assert OTHER in learned(host), "so it would have"


def test_a_limited_and_locked_guest(either):
    either.reach(external(either, structs.replace(locked(port(1)), rate=12_800_000), port(2)))
    assert passed(either, ALL) == GOOD.keys()


@needs_tap
def test_a_tap_is_locked_too(either):
    view = structs.replace(locked(tap(1)), mac=ME)
    either.reach(external(either, view, port(2)))
    with either.ns(hypervisor, "tap1.0") as opened, capture(either.guests[1], "eth0") as seen:
        for frame in (frame for named in ALL.values() for frame in named):
            opened.write(frame)
    assert names(seen, ALL) == GOOD.keys()


def test_the_host_is_shielded_as_well(either):
    either.reach(external(either, locked(port(1), NARROW), port(2), addresses=("10.0.0.100/16",)))
    one = either.guests[0]
    one.ip("address", "add", "10.0.0.1/16", "dev", "eth0")
    assert ping(one, "10.0.0.100")
    one.ip("address", "flush", "dev", "eth0")
    one.ip("address", "add", "10.0.0.9/16", "dev", "eth0")
    assert not ping(one, "10.0.0.100", wait=0.5)


# --- changes ---------------------------------------------------------------------------------------


@contextmanager
def sending(namespace: Namespace, sent: dict[str, list[bytes]]) -> Iterator[None]:
    """All of it over and over while the block runs."""
    over = threading.Event()

    def act() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("eth0", 0))
            while not over.is_set():
                for frame in (frame for named in sent.values() for frame in named):
                    with suppress(OSError):  # the queue of a guest without carrier is full
                        sock.send(frame)

    thread = threading.Thread(target=namespace, args=(act,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_no_forged_frame_passes_while_the_lock_changes(either):
    """From one list to another, over a table that others have removed from, and into another bridge."""
    other = switch(1, locked(port(2, 1), LockView()))
    either.reach(external(either, locked(port(1)), port(2)), other)
    few = {name: BAD[name] for name in ("another's MAC", "ARP: another's address", "IPv4: another's address", "VLAN 0")}
    with capture(either.guests[1], "eth0") as seen, capture(either.guests[1], "eth1") as there, sending(either.guests[0], few):
        for n in range(30):
            either.reach(external(either, locked(port(1), NARROW if n % 2 else LOCK), port(2)), other)
        either.reach(external(either, port(2)), switch(1, locked(port(1)), locked(port(2, 1), LockView())))
        either.reach(external(either, locked(port(1)), port(2)), other)
    assert names(seen, few) == names(there, few) == set()
    assert passed(either, few) == set()


def test_a_port_is_locked_before_its_first_frame(either):
    """While another guest of the same either makes all the noise that it can from the same end of a cable."""
    either.reach(external(either, port(2)))
    few = {"IPv4: another's address": BAD["IPv4: another's address"]}
    with capture(either.guests[1], "eth0") as seen:
        for _ in range(20):
            either.ok(create(locked(port(1))))
            send(either.guests[0], few)
            either.ok(remove(port(1)))
    assert names(seen, few) == set()


def test_a_disabled_port_that_moves_is_never_up_there(either):
    few = {"IPv4: UDP": GOOD["IPv4: UDP"]}
    either.reach(external(either, port(1), port(2)), switch(1, port(2, 1)))
    with capture(either.guests[1], "eth1") as seen, sending(either.guests[0], few):
        for _ in range(10):
            either.reach(external(either, port(2)), switch(1, structs.replace(port(1), up=False), port(2, 1)))
            assert not either.datapath.switches()["xapi1"].ports["vif1.0"].up
            either.reach(external(either, port(1), port(2)), switch(1, port(2, 1)))
    assert names(seen, few) == set()


def transactions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What nft is told, from now on."""
    told: list[str] = []

    def load(script: str) -> None:
        told.append(script)
        nft.load(script)

    monkeypatch.setattr(locks_module, "load", load)
    return told


def test_each_change_is_one_transaction_and_what_is_as_wanted_none(host, monkeypatch):
    scripts = transactions(monkeypatch)
    host.reach(external(host, port(1), port(2)))
    assert scripts == []
    for lock, lines in ((LOCK, None), (LOCK, 0), (NARROW, 3), (None, 3)):
        scripts.clear()
        host.ok(SetPort(object="v", bridge="xapi0", port=locked(port(1), lock)))
        assert len(scripts) == (lines != 0)
        assert lines is None or len("".join(scripts).splitlines()) == lines
    assert lock_seen(host) is None


def test_a_chunk_of_ports_is_one_transaction(host, monkeypatch):
    scripts = transactions(monkeypatch)
    host.reach(external(host, *(locked(port(1, n), LockView((f"10.0.0.{n + 1}",))) for n in range(40))))
    assert len(scripts) == 2


ENTRIES = ["10.0.0.1", "10.0.0.0/24", "10.0.0.0/25", "10.0.0.128/25", "10.0.1.0/24", "0.0.0.0/0", "10.0.0.255", "192.0.2.7/31"]
ENTRIES += ["2001:db8::1", "2001:db8::/64", "2001:db8::/127", "2001:db8:0:1::/64", "::/0", "fe80::/10", "fd00::7"]


@pytest.mark.parametrize("seed", range(3))
def test_from_any_lock_to_any_other(host, seed):
    """Lists that overlap, hold or adjoin each other, on ports that come, go and move, while others meddle."""
    random, net = Random(seed), network("red")
    for _ in range(25):
        views = []
        for index in random.sample(range(4), random.randint(1, 4)):
            allowed = ",".join(random.sample(ENTRIES, random.randint(0, 4)))
            mode: VIFLockingMode = "locked" if random.random() < 0.75 else "unlocked"
            views.append(locked(port(1, index), lock_of(vif("a", index, "red", mac=port(1, index).mac, lock=mode, allowed=allowed), net)))
        cut = random.randint(0, len(views))
        if random.random() < 0.3:
            host.ns.command("nft", random.choice(["flush ruleset", "add table bridge xenet; delete table bridge xenet", "add table bridge xenet"]))
            host.datapath.refresh()
        host.reach(switch(0, *views[:cut]), switch(1, *views[cut:]))
        assert {view.device: view.lock for view in views} == {view.device: lock_seen(host, view.device) for view in views}
        if random.random() < 0.5:
            host.ns(host.datapath.reap)
    host.reach()
    host.ns(host.datapath.reap)
    assert tables(host) == ""


# --- what others do --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "delete table bridge xenet",
        "flush ruleset",
        "flush chain bridge xenet guard",
        "flush table bridge xenet",
        "insert rule bridge xenet guard accept",
        "add rule bridge xenet from_arp accept",
        "add chain bridge xenet mine { type filter hook forward priority 0; policy drop; }",
        "add table bridge xenet { flags dormant; }",
        "chain bridge xenet prerouting { policy drop; }",
        "flush set bridge xenet ipv4",
        "flush set bridge xenet locked",
        'delete element bridge xenet macs { "vif1.0" . 02:00:00:01:00:00 }',
        'add element bridge xenet macs { "vif1.0" . 02:00:00:09:00:09 }',
        'add element bridge xenet ipv4 { "vif1.0" . 10.0.0.9 }',
        'add element bridge xenet ipv4 { "vif1.0" . 10.0.0.9-10.0.0.15 }',
        'add element bridge xenet targets { "vif1.0" . 1 }',
    ],
)
def test_what_others_break_is_seen_and_mended(host, command):
    host.reach(external(host, locked(port(1)), locked(port(2), NARROW)))
    host.datapath.refresh()
    host.ns.command("nft", command)
    assert "xapi0" in host.datapath.refresh()
    assert lock_seen(host) != LOCK
    host.reach(external(host, locked(port(1)), locked(port(2), NARROW)))
    assert (lock_seen(host), lock_seen(host, "vif2.0")) == (LOCK, NARROW)
    assert passed(host, ALL) == GOOD.keys()


def test_tables_of_others_stay(host):
    theirs = "table inet xenet { chain input { type filter hook input priority 0; policy accept; }; }; table bridge mine { set s { type ifname; }; }"
    host.ns.command("nft", theirs)
    before = tables(host)
    host.reach(external(host, locked(port(1))))
    host.ok(remove(port(1)))
    assert host.ns(host.datapath.reap) == 0
    assert tables(host) == before
    assert "type filter hook input" in host.ns.command("nft", "list", "table", "inet", "xenet")


def test_what_changed_unseen_fails_no_change(host):
    """An element that is to be deleted is gone: the transaction fails, and the second one knows."""
    host.reach(external(host, locked(port(1))))
    host.datapath.refresh()
    host.ns.command("nft", "delete table bridge xenet")
    host.ok(SetPort(object="v", bridge="xapi0", port=locked(port(1), NARROW)))
    assert lock_seen(host) == NARROW


def test_a_lock_goes_with_its_port_and_the_table_with_the_last(host):
    host.reach(external(host, locked(port(1)), locked(port(2))))
    host.ok(remove(port(1)))
    assert host.ns(host.datapath.reap) == 0
    said = host.ns.command("nft", "list", "table", "bridge", "xenet")
    assert "vif1.0" not in said
    assert "vif2.0" in said
    host.ns.ip("link", "del", "vif2.0")
    host.datapath.refresh()
    assert host.ns(host.datapath.reap) == 0
    assert tables(host) == ""


def test_a_port_does_not_inherit_the_lock_of_one_that_had_its_name(either):
    either.reach(external(either, locked(port(1)), port(2)))
    either.ok(remove(port(1)), create(port(1)))
    assert lock_seen(either) is None
    assert passed(either, ALL) == ALL.keys()


def test_another_agent_finds_the_locks_as_they_are(either):
    either.reach(external(either, locked(port(1)), port(2)))
    either.restart()
    assert lock_seen(either) == LOCK


# --- where there is no nftables --------------------------------------------------------------------


def test_without_nft_unlocked_vifs_work_and_locked_ones_say_what_is_missing(host, monkeypatch):
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **more: run(["no-such-program", *command], **more))
    host.reach(external(host, port(2)))
    (failure,) = host.do(create(locked(port(1))))
    assert failure.text == "a locked VIF needs the program nft (Debian: apt-get install nftables)"
    host.reach(external(host, port(2)))
    host.ok(SetPort(object="v", bridge="xapi0", port=port(2)))
    (failure,) = host.do(SetPort(object="v", bridge="xapi0", port=locked(port(2))))
    assert "nftables" in failure.text
    assert lock_seen(host, "vif2.0") is None


def test_when_nft_is_gone_locks_hold_until_their_ports_go(host, monkeypatch):
    host.reach(external(host, locked(port(1)), port(2)))
    run = subprocess.run
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "run", lambda command, **more: run(["no-such-program", *command], **more))
        assert passed(host, ALL) == GOOD.keys()
        host.ok(remove(port(1)))
        assert host.ns(host.datapath.reap) == 0, "nobody waits for what cannot be done"
    assert host.ns(host.datapath.reap) == 0
    assert tables(host) == ""


def test_a_kernel_without_nftables_says_so(host, monkeypatch):
    monkeypatch.setattr(nft, "RULES", "table nonsense xenet {}")
    with namespaces(1) as (other,), pytest.raises(Refused, match=r"needs nftables with the bridge family .* nft says: .*Error"):
        other(nft.load, nft.RULES)
