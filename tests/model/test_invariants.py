"""Each invariant is broken in turn: what no verb does is said in one line, and nothing else is."""

from collections.abc import Callable

import msgspec
import pytest

from tests.verbs.world import ABSENT, World
from xenet.model.change import Draft
from xenet.model.derived import VLAN, Bond, Tunnel
from xenet.model.hidden import Operation
from xenet.model.host import Host
from xenet.model.invariants import violations, warnings
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.task import Task
from xenet.model.types import Record
from xenet.model.vif import VIF
from xenet.model.vm import VM


def pool_at_work() -> PoolState:
    """Two hosts, a bond, a VM running on an external and an internal network, a halted VM, and a plug under way."""
    world = World()
    host = world.host("a", "eth0", "eth1", "eth2", "eth3")
    world.host("other", "eth0")
    slaves = tuple(world.pif(host, world.external(n)) for n in (2, 3))
    world.call("Bond.create", world.network(name_label="bonded"), slaves, "", "balance-slb", {})
    network = world.network(name_label="internal")
    world.running(network, world.external(1), on=host)
    world.vm(name_label="halted")
    busy, _ = world.running(on=host)
    world.call("VM.set_name_label", busy, "busy")
    world.start("VIF.plug", world.vif(busy, network))
    return world.state


GOOD = pool_at_work()


def one(cls: type[Record], label: str = "") -> Record:
    return next(r for r in GOOD.all(cls) if not label or getattr(r, "name_label", "") == label)


def physical_pif() -> Record:
    return next(pif for pif in GOOD.all(PIF) if pif.physical)


def idle_vif() -> Record:
    return next(vif for vif in GOOD.all(VIF) if vif.currently_attached)


def busy_vif() -> Record:
    return next(vif for vif in GOOD.all(VIF) if vif.current_operations)


def pif_of_eth1() -> Record:
    return next(pif for pif in GOOD.all(PIF) if pif.device == "eth1")


def slave() -> PIF:
    """The bond's second one."""
    return next(pif for pif in GOOD.all(PIF) if pif.device == "eth3")


def twin(record: Record, **fields: object) -> Callable[[Draft], object]:
    return lambda draft: draft.put(msgspec.structs.replace(record, uuid="twin", **fields))


def with_(record: Record, **fields: object) -> Callable[[Draft], object]:
    return lambda draft: draft.update(record, **fields)


def without(record: Record) -> Callable[[Draft], object]:
    return lambda draft: draft.delete(record)


OTHER_HOST = one(Host, "other").ref
BROKEN = {
    "a reference to nothing": (with_(idle_vif(), network=ABSENT), "network points to"),
    "a set of references to nothing": (with_(one(Operation), waiting=(ABSENT,)), "waiting points to"),
    "a reference to a class that xenet has not": (with_(one(PIF), PCI=ABSENT), "PCI points to"),
    "an operation without its task": (without(one(Task)), "its task is gone"),
    "an operation that waits for nobody": (with_(one(Operation), waiting=()), "waits for no host"),
    "an operation without its object": (without(busy_vif()), "is gone"),
    "an operation that does not show": (with_(busy_vif(), current_operations={}), "do not show"),
    "a show without operation": (without(one(Operation)), "of which no operation holds"),
    "two operations on one record": (twin(one(Operation)), "2 operations at once"),
    "two PIFs of a host on a network": (twin(one(PIF), device="eth9"), "PIFs on network and host"),
    "two PIFs of one NIC": (twin(physical_pif(), network=one(Network, "internal").ref), "physical PIFs of host and NIC"),
    "two VIFs of one device": (twin(idle_vif()), "VIFs of VM and device"),
    "two networks of one bridge": (twin(one(Network)), "networks with bridge"),
    "two VMs of one domain": (twin(one(VM, "vm")), "VMs with domid"),
    "two pools": (twin(one(Pool)), "2 pool"),
    "a domain from the future": (with_(one(Pool), next_domid=1), "but the next is 1"),
    "a bridge from the future": (with_(one(Pool), next_xapi=0), "but the next is xapi0"),
    "a VM that is not where it shall be": (with_(one(VM, "vm"), running_on=OTHER_HOST), "shall run on"),
    "a halted VM with a domain": (with_(one(VM, "halted"), domid=0), "Halted, on"),
    "a halted VM on a host": (with_(one(VM, "halted"), resident_on=OTHER_HOST, running_on=OTHER_HOST), "Halted, on"),
    "a VM scheduled by nobody": (with_(one(VM, "vm"), scheduled_to_be_resident_on=OTHER_HOST), "is scheduled"),
    "a VIF that is not as it shall be": (with_(idle_vif(), plugged=False), "shall be unplugged and is plugged"),
    "a VIF attached to a halted VM": (with_(idle_vif(), VM=one(VM, "halted").ref), "attached to a VM that is Halted"),
    "a bond without its primary slave": (with_(one(Bond), primary_slave=pif_of_eth1().ref), "is none of its slaves"),
    "a slave elsewhere": (with_(slave(), host=OTHER_HOST), "of a bond on another host"),
    "a slave that is no NIC": (with_(slave(), physical=False), "only a NIC that xenet manages"),
    "a slave that is not managed": (with_(slave(), managed=False), "only a NIC that xenet manages"),
    "a bond as a slave": (twin(one(Bond), master=slave().ref), "only a NIC that xenet manages"),
    "a slave in use": (with_(slave(), plugged=True), "in use by itself"),
    "a slave to reach the host by": (with_(slave(), management=True), "in use by itself"),
    "a slave with a VLAN": (lambda draft: draft.put(VLAN(uuid="vlan", tagged_PIF=slave().ref)), "carries a VLAN"),
    "a slave with a tunnel": (lambda draft: draft.put(Tunnel(uuid="tunnel", transport_PIF=slave().ref)), "carries a VLAN or a tunnel"),
    "a VIF without its PIF": (with_(pif_of_eth1(), plugged=False), "whose PIF is not plugged"),
}
SPLIT = {
    "a VIF where its network is not": (with_(pif_of_eth1(), host=OTHER_HOST), "which has no PIF on it"),
    "an internal network on two hosts": (
        with_(one(VM, "vm"), running_on=OTHER_HOST, resident_on=OTHER_HOST),
        "has no PIF, and is in use on 2 hosts",
    ),
}


def test_a_pool_at_work_is_well():
    assert violations(GOOD) == warnings(GOOD) == []
    assert violations(PoolState()) == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_said(name):
    breaks, said = BROKEN[name]
    draft = Draft(GOOD)
    breaks(draft)
    found = violations(draft.state)
    assert any(said in line for line in found), found


@pytest.mark.parametrize("name", SPLIT)
def test_a_network_in_parts_is_worth_a_warning(name):
    breaks, said = SPLIT[name]
    draft = Draft(GOOD)
    breaks(draft)
    assert violations(draft.state) == []
    assert any(said in line for line in warnings(draft.state))


@pytest.mark.parametrize("name", ["assume_network_is_shared", "managed"])
def test_a_network_may_say_that_it_is_shared(name):
    draft = Draft(GOOD)
    draft.update(one(VM, "vm"), running_on=OTHER_HOST, resident_on=OTHER_HOST)
    draft.update(one(Network, "internal"), **({"managed": False} if name == "managed" else {"other_config": {name: "true"}}))
    assert not any("has no PIF, and" in line for line in warnings(draft.state))


def test_what_a_client_may_set_may_point_anywhere():
    draft = Draft(GOOD)
    draft.update(one(VM, "halted"), affinity=ABSENT)
    assert violations(draft.state) == []
