"""Where an address is of a guest that has two NICs on one segment: Linux answers for it at both."""

import asyncio
import subprocess

import pytest
from scapy.layers.l2 import ARP, Ether

from tests.agent.test_learner import NOW, says
from tests.datapath.bridge_host import tap
from tests.netns import Namespace, cable, namespaces
from xenet.agent.learner import SETTLES_S, Book, Learner
from xenet.agent.listener import Listener
from xenet.agent.replica import Replica
from xenet.model.hidden import Claim, GuestAddresses
from xenet.model.types import Ref, ref_of
from xenet.model.vif import VIF
from xenet.plan.view import HostView, PortView, SwitchView

ONE, TWO = tap(1, 0), tap(1, 1)


def answers(address: str, port: PortView) -> bytes:
    return bytes(Ether(src=port.mac, dst="02:00:00:00:99:99") / ARP(op=2, hwsrc=port.mac, psrc=address, hwdst="02:00:00:00:99:99", pdst="10.0.0.99"))


def two_nics(*networks: str, **known: Claim) -> Replica:
    """What the server knows of the VIFs of a guest with two NICs: of `one`, and of `two`."""
    replica = Replica()
    for port, network, name in zip((ONE, TWO), networks, ("one", "two"), strict=True):
        vif = VIF(
            uuid=port.vif,
            device=str(port.index),
            network=Ref(network),
            VM=ref_of(port.vm),
            MAC=port.mac,
            MTU=1500,
            other_config={},
            qos_algorithm_type="",
            qos_algorithm_params={},
        )
        claims = (known[name],) if name in known else ()
        replica.state = replica.state.with_record("VIF", vif.ref, vif).with_record(
            "guest_addresses", vif.ref, GuestAddresses(uuid=port.vif, vif=vif.ref, network=Ref(network), boot=1, claims=claims)
        )
    return replica


def test_what_a_guest_answers_for_at_each_nic_is_at_the_one_that_uses_it() -> None:
    book = Book(two_nics("net", "net"))
    assert book.hear(TWO, answers("10.0.0.1", TWO), NOW), "nobody has it: better than nothing"
    assert not book.hear(ONE, answers("10.0.0.1", ONE), NOW)
    assert book.hear(ONE, says("10.0.0.1", ONE.mac), NOW + 1)
    assert book.news() == {ONE.vif: (Claim("10.0.0.1", int(NOW + 1)),)}
    for second in range(2, 400):  # both answer to every question
        assert not book.hear(TWO, answers("10.0.0.1", TWO), NOW + second)
        assert not book.hear(ONE, answers("10.0.0.1", ONE), NOW + second)
    assert (book.addresses(ONE), book.addresses(TWO)) == (["10.0.0.1"], [])


def test_an_address_that_moves_to_another_nic_is_followed() -> None:
    book = Book(two_nics("net", "net", one=Claim("10.0.0.1", int(NOW))))
    assert book.hear(TWO, says("10.0.0.1", TWO.mac), NOW + 1)
    assert (book.addresses(ONE), book.addresses(TWO)) == ([], ["10.0.0.1"]), "before the server has taken it from the other"
    assert not book.hear(ONE, answers("10.0.0.1", ONE), NOW + 2)
    assert book.hear(ONE, says("10.0.0.1", ONE.mac), NOW + 3), "and back, which the server has to be told again"
    assert book.news() == {ONE.vif: (Claim("10.0.0.1", int(NOW + 3)),)}
    assert (book.addresses(ONE), book.addresses(TWO)) == (["10.0.0.1"], [])


def test_answers_alone_take_an_address_from_a_nic_that_is_silent() -> None:
    book = Book(two_nics("net", "net", one=Claim("10.0.0.1", int(NOW))))
    assert not book.hear(TWO, answers("10.0.0.1", TWO), NOW + 100)
    assert not book.hear(TWO, answers("10.0.0.1", TWO), NOW + 100 + SETTLES_S - 1)
    assert not book.hear(ONE, answers("10.0.0.1", ONE), NOW + 100 + SETTLES_S - 1), "not silent after all"
    assert not book.hear(TWO, answers("10.0.0.1", TWO), NOW + 100 + SETTLES_S)
    assert book.hear(TWO, answers("10.0.0.1", TWO), NOW + 100 + 2 * SETTLES_S)
    assert (book.addresses(ONE), book.addresses(TWO)) == ([], ["10.0.0.1"])


def test_the_same_address_on_two_networks_is_two() -> None:
    """As a router's is that has one on each, apart from each other; what it only answers for is taken for the wire's."""
    book = Book(two_nics("net", "elsewhere", one=Claim("10.0.0.1", int(NOW))))
    assert not book.hear(TWO, answers("10.0.0.1", TWO), NOW + 1)
    assert book.hear(TWO, says("10.0.0.1", TWO.mac), NOW + 2)
    assert (book.addresses(ONE), book.addresses(TWO)) == (["10.0.0.1"], ["10.0.0.1"])


def test_another_vm_may_answer_for_the_same_address() -> None:
    replica = two_nics("net", "net", one=Claim("10.0.0.1", int(NOW)))
    assert Book(replica).hear(tap(2), answers("10.0.0.1", tap(2)), NOW + 1), "which of two VMs has it, the server decides"


def places(learner: Learner) -> list[str]:
    """The VIFs of which the server would be told that 10.0.0.1 is there."""
    return [vif for vif, claims in learner.book.news().items() if any(claim.address == "10.0.0.1" for claim in claims)]


@pytest.mark.kernel
def test_a_linux_guest_with_two_nics_on_one_segment() -> None:
    """Its kernel answers at both; its own questions say where an address is, also when it has moved."""
    with namespaces(3) as (host, guest, peer):
        host.ip("link", "add", "xenbr0", "type", "bridge", "forward_delay", "0")
        host.ip("link", "set", "xenbr0", "up")
        for far, device, nic in ((guest, ONE.device, "eth0"), (guest, TWO.device, "eth1"), (peer, "peer", "eth0")):
            cable(host, device, far, nic)
            host.ip("link", "set", device, "master", "xenbr0")
        for port, nic in ((ONE, "eth0"), (TWO, "eth1")):
            guest.ip("link", "set", nic, "address", port.mac)
        guest.ip("address", "add", "10.0.0.1/24", "dev", "eth0")
        peer.ip("address", "add", "10.0.0.9/24", "dev", "eth0")
        wanted = HostView({"xenbr0": SwitchView("xenbr0", "net", ports={view.device: view for view in (ONE, TWO)})})

        async def during() -> None:
            learner = Learner(two_nics("net", "net"), Listener())
            learner.follow(wanted)
            heard_of: list[str] = []
            hear = learner.book.hear

            def noting(port: PortView, frame: bytes, now: float) -> bool:
                heard_of.append(port.vif)
                return hear(port, frame, now)

            learner.book.hear = noting  # type: ignore[method-assign]
            try:
                async with asyncio.timeout(30):
                    while not {ONE.vif, TWO.vif} <= set(heard_of):  # the peer's question is answered at both
                        peer.ip("neighbour", "flush", "all")
                        peer(subprocess.run, ["ping", "-c", "1", "-W", "1", "10.0.0.1"], capture_output=True)
                        await asyncio.sleep(0.05)
                    assert len(places(learner)) == 1, "at one of them"
                    await used(learner, guest, ONE)
                    guest.ip("address", "del", "10.0.0.1/24", "dev", "eth0")
                    guest.ip("address", "add", "10.0.0.1/24", "dev", "eth1")
                    await used(learner, guest, TWO)
            finally:
                learner.close()

        async def used(learner: Learner, guest: Namespace, port: PortView) -> None:
            """The guest asks for its peer, until the address is where it asks from."""
            while places(learner) != [port.vif]:
                guest.ip("neighbour", "flush", "all")
                guest(subprocess.run, ["ping", "-c", "1", "-W", "1", "10.0.0.9"], capture_output=True)
                await asyncio.sleep(0.05)

        host(asyncio.run, during())
