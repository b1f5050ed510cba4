"""A running VM between two pools of one host each, and the decisions that take it from the one to the other."""

from typing import NamedTuple

from tests.verbs.world import World
from xenet.model.change import Change
from xenet.model.hidden import Operation
from xenet.model.types import NULL, Ref
from xenet.plan.compile import compile_guest
from xenet.verbs.call import Ended, Errand
from xenet.verbs.operation import set_out

MEMORY = dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"), 64 << 20)
QEMU = {"PV_kernel": "/boot/vmlinuz", "other_config": {"xenet-guest": "qemu"}, **MEMORY}


class Pools(NamedTuple):
    """The pool that the VM leaves and the one that it comes to, of one host each."""

    here: World
    there: World
    source: Ref
    target: Ref
    vm: Ref
    vifs: list[Ref]


def two_pools() -> Pools:
    here, there = World(), World()
    there.now = here.now
    there._draws = 1 << 20  # other uuids than here
    source, target = here.host("a", "eth0", guests="namespace"), there.host("b", "eth0", guests="namespace")
    there.call("PIF.reconfigure_ip", there.state.refs_where("PIF", "host", target)[0], "Static", "192.0.2.2", "255.255.255.0", "", "")
    vm = here.vm(**QEMU)
    vifs = [here.vif(vm, here.external(0), str(device)) for device in range(2)]
    here.call("VM.start_on", vm, source, False, False)
    here.call("VIF.unplug", vifs[1])
    return Pools(here, there, source, target, vm, vifs)


def dest(pools: Pools) -> dict[str, str]:
    url = "http://192.0.2.2/services/xenops?session_id=x"
    return {"host": pools.target, "session_id": "x", "master": "https://192.0.2.2/", "xenops": url}


def arguments(pools: Pools, **options: str) -> tuple[object, ...]:
    return pools.vm, dest(pools), True, {}, dict.fromkeys(pools.vifs, pools.there.external(0)), options


class Journey:
    """Up to where the guest goes: the other pool awaits it, and this one has sent it."""

    def __init__(self, pools: Pools, *, sent: bool = True) -> None:
        self.pools = pools
        self.errand: Errand = pools.here.decide("VM.migrate_send", *arguments(pools), asynchronous=True)
        assert self.errand.hold is not None
        pools.here.take(self.errand.hold)
        self.told = pools.there.start(self.errand.method, *self.errand.params)
        if sent:
            (answered,) = pools.there.report(pools.target)
            assert answered == Ended(self.told.operation or NULL, None)
            change = set_out(pools.here.frame("errand"), self.operation.ref, self.told.result["way"])
            assert change is not None
            pools.here.commit(change)

    @property
    def operation(self) -> Operation:
        (only,) = self.pools.here.state.all(Operation)
        return only

    def ask(self, word: str = "ask", ticket: str = "") -> str:
        return str(self.pools.there.call("VM.arrival", self.pools.vm, ticket or self.operation.abroad["ticket"], word))

    def end(self, function: object, *args: object) -> list[Ended]:
        change, ended = function(self.pools.here.frame("errand"), self.operation.ref, *args)  # type: ignore[operator]
        assert isinstance(change, Change)
        self.pools.here.commit(change)
        return list(ended)

    def stages(self) -> tuple[str, str]:
        """What the hosts shall have of the guest."""
        places = ((self.pools.here, self.pools.source), (self.pools.there, self.pools.target))
        found = [compile_guest(world.state, host, self.pools.vm.removeprefix("OpaqueRef:")) for world, host in places]
        return tuple(guest.stage if guest else "" for guest in found)  # type: ignore[return-value]
