"""A running VM between two pools: what each of them decides, and how it ends when a host fails, dies or takes too long, or the other pool does."""

import pytest

from tests.verbs.two_pools import Journey, Pools, arguments, dest, two_pools
from tests.verbs.world import ABSENT, World
from xenet.model.change import Draft
from xenet.model.errors import Failure
from xenet.model.hidden import Operation
from xenet.model.host import Host
from xenet.model.invariants import violations
from xenet.model.pif import PIF
from xenet.model.task import Task
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.plan.compile import compile_switch
from xenet.verbs.call import Errand
from xenet.verbs.operation import arrived_abroad, forget, forsake, set_out

LATE = Failure("CANNOT_CONTACT_HOST")


@pytest.fixture
def pools() -> Pools:
    return two_pools()


def is_only_here(pools: Pools) -> bool:
    """As if nothing had happened."""
    record = pools.here.get(VM, pools.vm)
    vifs = [pools.here.get(VIF, vif) for vif in pools.vifs]
    return (
        violations(pools.here.state) == []
        and (record.crossing, record.way, record.peer_domid, record.power_state, record.resident_on) == ("", "", -1, "Running", pools.source)
        and [vif.currently_attached for vif in vifs] == [True, False]
        and not record.current_operations
        and not any(vif.current_operations for vif in vifs)
        and pools.here.state.count(Operation) == 0
        and is_not_there(pools)
    )


def is_not_there(pools: Pools) -> bool:
    state = pools.there.state
    return (state.count(VM), state.count(VIF), state.count(Operation), violations(state)) == (0, 0, 0, [])


def test_it_goes(pools: Pools) -> None:
    journey = Journey(pools)
    assert journey.stages() == ("goes", "arrives")
    assert pools.here.get(VM, pools.vm).way == pools.there.get(VM, pools.vm).way == journey.told.result["way"]
    assert journey.told.result["way"].startswith("192.0.2.2:")
    assert journey.ask() == "coming"
    pools.there.report(pools.target)
    assert journey.stages() == ("goes", "late"), "the host says it once more, in words that leave no doubt"
    assert journey.ask() == "coming"
    pools.there.report(pools.target)
    assert journey.ask() == "runs"
    record = pools.there.get(VM, pools.vm)
    assert (record.power_state, record.resident_on, record.running_on, record.way) == ("Running", pools.target, pools.target, "")
    assert sorted(vif.currently_attached for vif in pools.there.state.all(VIF)) == [False, True]
    assert set(record.blocked_operations) == {"destroy", "migrate_send"}, "or the other pool would believe that it never came"
    ticket, task = journey.operation.abroad["ticket"], journey.operation.task
    (ended,) = journey.end(arrived_abroad)
    assert ended.failure is None
    left = journey.operation
    assert (left.objects, left.abroad["vm"], left.abroad["ticket"]) == ((), pools.vm, ticket), "what is left is to tell the other pool"
    assert (pools.here.get(Task, task).status, pools.here.get(Task, task).result) == ("success", f"<value>{pools.vm}</value>")
    assert (pools.here.state.count(VM), pools.here.state.count(VIF)) == (0, 0)
    assert journey.ask("let go", ticket) == "runs"
    pools.here.commit(forget(pools.here.frame("errand"), left.ref))
    assert pools.here.state.count(Operation) == 0
    assert pools.there.get(VM, pools.vm).blocked_operations == {}
    assert violations(pools.here.state) == violations(pools.there.state) == []


def test_its_port_is_shut_until_it_runs(pools: Pools) -> None:
    journey = Journey(pools, sent=False)
    uuid = pools.vm.removeprefix("OpaqueRef:")
    assert journey.stages() == ("runs", "awaits")

    def port(world: World, host: Ref, *absent: str) -> tuple[bool, bool]:
        switch = compile_switch(world.state, host, "xenbr0", frozenset(absent))
        assert switch is not None
        (found,) = switch.ports.values()
        return found.up, found.moving

    assert port(pools.there, pools.target) == (False, True)
    assert port(pools.here, pools.source) == (True, False)
    pools.there.report(pools.target)
    assert port(pools.there, pools.target, uuid) == (False, True)
    assert port(pools.there, pools.target) == (True, False)


def test_the_other_pool_cannot_take_it(pools: Pools) -> None:
    """Its host cannot make a port."""
    Journey(pools, sent=False)
    (vif,) = [vif.ref for vif in pools.there.state.all(VIF) if vif.plugged]
    (ended,) = pools.there.report(pools.target, {vif: "no"})
    assert ended.failure is not None
    assert is_not_there(pools)


@pytest.mark.parametrize("word", ["gone", "runs", ""])
def test_it_could_not_be_sent_and_stays(pools: Pools, word: str) -> None:
    """The host says so, and makes sure. The other pool is asked all the same; where it says nothing, for as long as a host is."""
    journey = Journey(pools)
    task = journey.operation.task
    assert pools.here.report(pools.source, {pools.vm: "the connection broke"}) == []
    assert journey.stages() == ("stays", "arrives")
    assert pools.here.report(pools.source) == []
    assert journey.stages() == ("runs", "arrives")
    assert journey.ask("call off") == "coming"
    assert journey.stages() == ("runs", "late")
    pools.there.report(pools.target, {} if word == "runs" else {pools.vm: "it has ended"})
    if word == "runs":  # two run for a moment
        assert journey.ask() == "runs"
        (ended,) = journey.end(arrived_abroad)
        assert ended.failure is None
        assert pools.here.state.count(VM) == 0
        return
    assert journey.ask() == "gone"
    reason = Failure("CANNOT_CONTACT_HOST")
    (ended,) = journey.end(forsake, "it did not arrive") if word else pools.here.give_up(journey.operation.ref, reason)
    assert ended.failure is not None
    assert (pools.here.get(Task, task).status, pools.here.get(Task, task).error_info) == ("failure", ("INTERNAL_ERROR", "the connection broke"))
    assert is_only_here(pools)


def test_it_takes_too_long_and_is_called_back(pools: Pools) -> None:
    journey = Journey(pools)
    pools.here.give_up(journey.operation.ref, LATE)
    assert journey.stages() == ("stays", "arrives")
    pools.here.leave(pools.source)
    pools.here.give_up(journey.operation.ref, LATE)
    assert journey.stages() == ("stays", "arrives"), "nothing but the host's word says that it stayed"


@pytest.mark.parametrize("word", ["runs", "gone"])
def test_it_was_handed_over_and_the_other_pool_decides(pools: Pools, word: str) -> None:
    """The host cannot keep it any more; no time is too long."""
    journey = Journey(pools)
    pools.here.report(pools.source, {pools.vm: "the agent's connection broke"})
    assert pools.here.report(pools.source, {pools.vm: "it has been handed over"}) == []
    assert journey.stages() == ("goes", "arrives")
    for _ in range(3):
        pools.here.report(pools.source)
        pools.here.give_up(journey.operation.ref, LATE)
    assert journey.stages() == ("goes", "arrives")
    assert journey.ask("call off") == "coming"
    assert journey.stages() == ("goes", "late")
    pools.there.leave(pools.target)
    pools.there.give_up(journey.told.operation or NULL, LATE)
    assert journey.ask() == "coming", "nothing but the host's word says that it is not there"
    pools.there.report(pools.target, {pools.vm: "it has ended"} if word == "gone" else None)
    assert journey.ask() == word
    if word == "gone":
        (ended,) = journey.end(forsake, "it is not there")
        assert ended.failure is not None
        assert ended.failure.description == ["INTERNAL_ERROR", "the agent's connection broke"], "the first reason is the reason"
        assert is_only_here(pools)
    else:
        (ended,) = journey.end(arrived_abroad)
        assert ended.failure is None
        assert pools.here.state.count(VM) == 0
        assert pools.there.get(VM, pools.vm).power_state == "Running"


def test_nobody_comes_and_nobody_asks(pools: Pools) -> None:
    """The pool that it should leave has died: what awaits the guest is ended, which the host says."""
    journey = Journey(pools)
    pools.there.give_up(journey.told.operation or NULL, LATE)
    assert journey.stages() == ("goes", "late")
    pools.there.report(pools.target, {pools.vm: "it has ended"})
    assert is_not_there(pools)


def test_it_is_called_off_before_it_is_awaited(pools: Pools) -> None:
    journey = Journey(pools, sent=False)
    assert journey.ask("call off") == "coming"
    assert journey.ask() == "gone"
    (ended,) = journey.end(forsake, "it is not there")
    assert ended.failure is not None
    assert ended.failure.description == ["VM_MIGRATE_FAILED", pools.vm, pools.source, pools.target, "it is not there"]
    assert is_only_here(pools)


def test_its_task_can_be_cancelled_until_it_goes(pools: Pools) -> None:
    journey = Journey(pools, sent=False)
    task = journey.operation.task
    reference = journey.operation.ref
    assert "cancel" in pools.here.get(Task, task).allowed_operations
    pools.here.take(pools.here.decide("task.cancel", task))
    assert pools.here.get(Task, task).status == "cancelled"
    assert set_out(pools.here.frame("errand"), reference, "192.0.2.2:1") is None
    journey.pools.there.give_up(journey.told.operation or NULL, LATE)
    assert is_only_here(pools)
    journey = Journey(pools)
    assert pools.here.get(Task, journey.operation.task).allowed_operations == ("destroy",)


def test_a_host_that_is_gone_for_good_is_given_up_by_hand(pools: Pools) -> None:
    journey = Journey(pools)
    assert pools.there.refusal("VM.power_state_reset", pools.vm)[0] == "OTHER_OPERATION_IN_PROGRESS"
    pools.there.leave(pools.target)
    pools.there.take(pools.there.decide("VM.power_state_reset", pools.vm))
    assert journey.ask() == "gone"
    assert is_not_there(pools)


def test_who_has_no_ticket_learns_nothing(pools: Pools) -> None:
    journey = Journey(pools)
    assert journey.ask("call off", "guessed") == "gone"
    assert journey.stages() == ("goes", "arrives")
    assert pools.there.call("VM.arrival", ABSENT, "guessed", "call off") == "gone"
    halted = pools.there.vm()
    assert pools.there.call("VM.arrival", halted, "", "let go") == "gone"


def test_what_is_refused_here(pools: Pools) -> None:
    for message in ("VM.assert_can_migrate", "VM.migrate_send"):
        assert pools.here.refusal(message, *arguments(pools, copy="true")) == ["VM_BAD_POWER_STATE", pools.vm, "halted", "running"]
        unmapped = (*arguments(pools)[:4], {}, {})
        assert pools.here.refusal(message, *unmapped) == ["VIF_NOT_IN_MAP", pools.vifs[0]]
    for kind, why in (("namespace", "cannot leave its machine"), ("tap", "hypervisor")):
        vm = pools.here.vm(other_config={"xenet-guest": kind})
        pools.here.call("VM.start_on", vm, pools.source, False, False)
        code, text = pools.here.refusal("VM.migrate_send", vm, dest(pools), True, {}, {}, {})
        assert (code, why in text) == ("OPERATION_NOT_ALLOWED", True)
    pools.here.leave(pools.source)
    assert pools.here.refusal("VM.migrate_send", *arguments(pools)) == ["HOST_OFFLINE", pools.source]


def test_what_the_other_pool_refuses(pools: Pools) -> None:
    there, target = pools.there, pools.target
    errand: Errand = pools.here.decide("VM.assert_can_migrate", *arguments(pools))
    inventory, networks, host, options = errand.params
    assert errand.hold is None
    before = there.state
    assert there.decide(errand.method, *errand.params) is None

    def refusal(**changed: object) -> list[str]:
        given = {"inventory": inventory, "networks": networks, "host": host, "options": options, **changed}
        return there.refusal(errand.method, *given.values())

    assert refusal(options={**options, "address": "192.0.2.3"}) == ["INVALID_VALUE", "address", "192.0.2.3"]
    assert refusal(networks={}) == ["HANDLE_INVALID", "network", NULL]
    assert refusal(inventory=inventory.replace('"qemu"', '"tap"'))[0] == "OPERATION_NOT_ALLOWED"
    assert refusal(inventory=inventory.replace("/boot/vmlinuz", "boot"))[0] == "VALUE_NOT_SUPPORTED"
    assert there.state is before
    there.call("host.disable", target, True)
    assert refusal() == ["HOST_DISABLED", target]
    there.call("host.enable", target)
    assert there.get(Host, target).enabled
    there.call("PIF.reconfigure_ip", there.state.refs_where("PIF", "host", target)[0], "None", "", "", "", "")
    assert [pif.IP for pif in there.state.all(PIF)] == [""]
    assert refusal(options={**options, "address": ""})[0] == "OPERATION_NOT_ALLOWED"
    there.leave(target)
    assert refusal() == ["HOST_OFFLINE", target]


def test_trunks_come_along_where_the_other_pool_can_have_them(pools: Pools) -> None:
    there, target = pools.there, pools.target
    errand: Errand = pools.here.decide("VM.assert_can_migrate", *arguments(pools))
    inventory, *others = errand.params

    def said(tags: str) -> str:
        changed: str = inventory.replace('"trunks":[]', f'"trunks":[{tags}]')
        assert changed != inventory
        return changed

    before = there.state
    assert there.refusal(errand.method, said('"4095"'), *others) == ["VLAN_TAG_INVALID", "4095"]
    assert there.refusal(errand.method, said('"10"'), *others) == ["OPENVSWITCH_NOT_ACTIVE"]
    assert there.state is before
    draft = Draft(there.state)
    draft.update(there.get(Host, target), software_version={"network_backend": "openvswitch"})
    there.state = draft.state
    lower = there.state.refs_where("PIF", "host", target)[0]
    network = there.network()
    there.call("VLAN.create", lower, 42, network)
    networks, *rest = others
    on_vlan = dict.fromkeys(networks, network)
    assert there.refusal(errand.method, said('"10"'), on_vlan, *rest) == ["NETWORK_INCOMPATIBLE_WITH_TRUNKS", network]
    there.call("VM.receive_live", said('"10"'), *others)
    assert [vif.trunks for vif in there.state.where(VIF, "VM", pools.vm)] == [(10,)] * len(pools.vifs)


def test_one_that_came_is_not_taken_again(pools: Pools) -> None:
    """While it comes, nor when it runs; what is there is none of a failed attempt's."""
    journey = Journey(pools)
    assert pools.there.refusal(journey.errand.method, *journey.errand.params)[:3] == ["OTHER_OPERATION_IN_PROGRESS", "VM", pools.vm]
    pools.there.settle(journey.told.operation or NULL)
    assert pools.there.refusal(journey.errand.method, *journey.errand.params) == ["DUPLICATE_VM", pools.vm]
