"""Mirrors: what other_config:mirror-to may say, and what is told of it."""

import pytest

from tests.verbs.world import World
from xenet.model.network import Network
from xenet.model.types import NULL, Ref
from xenet.model.vif import VIF
from xenet.plan.compile import compile_switch
from xenet.plan.view import MirrorView

SET, ADD = "VIF.set_other_config", "VIF.add_to_other_config"


@pytest.fixture
def world() -> World:
    made = World()
    for name in ("a", "bb"):
        made.host(name, "eth0")
    return made


@pytest.fixture
def pair(world: World) -> tuple[Ref, Ref]:
    """Two VIFs of VMs that run on the first host, on the network of its NIC."""
    vms = [world.running(world.external(0), on=Ref("OpaqueRef:host-a")) for _ in range(2)]
    return vms[0][1][0], vms[1][1][0]


def mirror(world: World, ref: Ref) -> dict[str, str]:
    return {"mirror-to": world.get(VIF, ref).uuid}


def seen(world: World, host: str = "a") -> tuple[MirrorView, ...]:
    network = world.get(Network, world.external(0))
    view = compile_switch(world.state, Ref(f"OpaqueRef:host-{host}"), network.bridge)
    return view.mirrors if view else ()


def properties(world: World, ref: Ref) -> dict[str, str]:
    return dict(world.get(VIF, ref).runtime_properties)


def test_both_sides_say_what_is_mirrored(world: World, pair: tuple[Ref, Ref]) -> None:
    source, target = pair
    world.call(SET, source, mirror(world, target))
    assert seen(world) == (MirrorView("tap2.0", sources=("tap1.0",)),)
    assert properties(world, source) == {"mirror": "active"}
    assert properties(world, target) == {"mirror-of": f"VIF {world.get(VIF, source).uuid}"}
    world.call("network.set_other_config", world.external(0), mirror(world, target))
    assert seen(world) == (MirrorView("tap2.0", everything=True),), "that has the VIF's frames, too"
    assert properties(world, target)["mirror-of"].startswith("network ")
    world.call("VIF.unplug", target)
    assert seen(world) == ()
    assert "is not attached" in properties(world, source)["mirror"]
    assert properties(world, target) == {}
    world.call("VIF.plug", target)
    assert properties(world, source) == {"mirror": "active"}
    world.call(SET, source, {})
    world.call("network.set_other_config", world.external(0), {})
    assert (seen(world), properties(world, source), properties(world, target)) == ((), {}, {})
    assert world.get(VIF, source).mirror_to == NULL


def test_what_makes_no_sense_is_refused(world: World, pair: tuple[Ref, Ref]) -> None:
    source, target = pair
    other, foreign = world.network(), world.network(bridge="br-x", managed=False)
    away = world.vif(world.vm(), other)
    lodger = world.vif(world.vm(), foreign)
    nobody = "6b3c3e0e-0000-4000-8000-000000000000"
    assert world.refusal(SET, source, {"mirror-to": nobody}) == ["UUID_INVALID", "VIF", nobody]
    assert world.refusal(ADD, source, "mirror-to", nobody) == ["UUID_INVALID", "VIF", nobody]
    assert "to itself" in world.refusal(SET, source, mirror(world, source))[1]
    assert "another network" in world.refusal(SET, source, mirror(world, away))[1]
    assert "another network" in world.refusal("network.set_other_config", other, mirror(world, target))[1]
    assert world.refusal("network.set_other_config", foreign, mirror(world, lodger)) == ["NETWORK_UNMANAGED", foreign]
    made = {"name_label": "new", "other_config": mirror(world, target)}
    assert world.refusal("network.create", made)[0] == "OPERATION_NOT_ALLOWED"
    world.call(SET, source, mirror(world, target))
    third = world.running(world.external(0), on=Ref("OpaqueRef:host-a"))[1][0]
    assert "is mirrored itself" in world.refusal(SET, third, mirror(world, source))[1]
    assert "hears a mirror" in world.refusal(SET, target, mirror(world, third))[1]
    world.call(SET, third, mirror(world, target))
    assert seen(world) == (MirrorView("tap2.0", sources=("tap1.0", "tap3.0")),)


def test_a_key_that_lost_its_sense_may_stay_and_does_nothing(world: World, pair: tuple[Ref, Ref]) -> None:
    source, target = pair
    world.call(SET, source, mirror(world, target))
    world.call("VIF.move", target, world.network())
    assert seen(world) == ()
    assert "another network" in properties(world, source)["mirror"]
    world.call(SET, source, {**mirror(world, target), "more": "words"})
    world.call("VIF.unplug", target)
    world.call("VIF.destroy", target)
    world.call(ADD, source, "yet more", "")
    assert properties(world, source)["mirror"].startswith("there is no VIF ")


def test_only_where_both_are(world: World, pair: tuple[Ref, Ref]) -> None:
    source, _ = pair
    far = world.running(world.external(0), on=Ref("OpaqueRef:host-bb"))[1][0]
    world.call(SET, source, mirror(world, far))
    assert (seen(world), seen(world, "bb")) == ((), (MirrorView("tap3.0"),)), "reserved all the same"
    assert "is on another host" in properties(world, source)["mirror"]
    assert properties(world, far) == {}
