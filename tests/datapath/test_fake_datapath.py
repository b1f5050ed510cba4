"""The datapath in memory does what the real one does, and fails and dies on demand."""

import select

import pytest
from msgspec import structs

from xenet.datapath.fake import Crash, FakeDatapath
from xenet.model.hidden import NIC, BondLinks
from xenet.plan.diff import diff_host
from xenet.plan.steps import (
    AddAddress,
    AddRoute,
    AttachUplink,
    CreatePort,
    CreateSwitch,
    DeleteSwitch,
    DetachUplink,
    RemoveAddress,
    RemovePort,
    SetPort,
    StepFailure,
)
from xenet.plan.view import BondView, HostView, PortView, RouteView, SwitchView, UplinkView, VLANView

ETH0, WAN0 = NIC("eth0", "02:00:00:00:00:aa"), NIC("wan0", "02:00:00:00:00:bb")
PORT = PortView("vif1.0", "vif-1", "vm-1", 0, "02:00:00:00:00:01")
OTHER = PortView("vif2.0", "vif-2", "vm-2", 0, "02:00:00:00:00:02")
ROUTE = RouteView("0.0.0.0/0", "10.0.0.1")
FULL = SwitchView(
    "xapi0", "net-a", mac=ETH0.mac, uplink=UplinkView("eth0"), ports={"vif1.0": PORT, "vif2.0": OTHER}, addresses=("10.0.0.5/24",), routes=(ROUTE,)
)
MOVED = HostView({"xapi0": structs.replace(FULL, ports={}), "xapi1": SwitchView("xapi1", "net-b", ports={"vif1.0": PORT})})


@pytest.fixture
def fake():
    made = FakeDatapath([ETH0, WAN0], {"br-theirs": ["wan0"]})
    yield made
    made.close()


def plan(fake: FakeDatapath, wanted: HostView):
    return diff_host(wanted, HostView(fake.switches()))


def test_it_reaches_what_is_wanted_and_leaves_nothing(fake):
    for wanted in (HostView({"xapi0": FULL}), MOVED, HostView({"xapi0": FULL}), HostView()):
        steps = plan(fake, wanted)
        assert steps and fake.do(steps) == []
        assert plan(fake, wanted) == []
        assert fake.done[-len(steps) :] == steps
    assert fake.switches() == {}
    assert fake.dead == ["vif1.0", "vif2.0"]
    assert fake.reap() == 0
    assert fake.dead == []


def test_the_kth_step_fails_and_takes_its_object_along(fake):
    steps = plan(fake, HostView({"xapi0": FULL}))
    fake.fail_at(2, "busy", retry=True)
    failures = fake.do(steps)
    assert isinstance(steps[1], AttachUplink)
    assert failures == [StepFailure(step, "busy", True) for step in steps[1:] if step.object == "net-a"]
    assert set(fake.switches()["xapi0"].ports) == {"vif1.0", "vif2.0"}
    assert fake.do(plan(fake, HostView({"xapi0": FULL}))) == []


def test_it_dies_between_two_steps_and_can_go_on(fake):
    wanted = HostView({"xapi0": FULL})
    for k in range(len(plan(fake, wanted))):
        fake.do(plan(fake, HostView()))
        steps = plan(fake, wanted)
        done = len(fake.done)
        fake.crash_at(k)
        with pytest.raises(Crash):
            fake.do(steps)
        assert fake.done[done:] == steps[:k]
        assert fake.do(plan(fake, wanted)) == []
        assert fake.switches() == {"xapi0": FULL}


def test_what_somebody_else_did_is_news(fake):
    fake.do(plan(fake, HostView({"xapi0": FULL})))
    assert fake.refresh() == {"xapi0"}
    assert select.select([fake], [], [], 0)[0] == []
    fake.disturb("xapi0", structs.replace(FULL, up=False))
    assert select.select([fake], [], [], 0)[0] == [fake]
    assert fake.refresh() == {"xapi0"}
    assert fake.refresh() == set()
    assert fake.do(plan(fake, HostView({"xapi0": FULL}))) == []
    fake.disturb("xapi0", None)
    assert fake.switch("xapi0") is None


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (CreateSwitch(object="o", switch=SwitchView("br-theirs", "n")), "br-theirs exists and is another's"),
        (CreateSwitch(object="o", switch=SwitchView("xapi0", "n")), "xapi0 serves another network"),
        (DeleteSwitch(object="o", bridge="br-theirs"), "br-theirs is not xenet's"),
        (DeleteSwitch(object="o", bridge="xapi0"), "xapi0 still has eth0, vif1.0, vif2.0"),
        (AttachUplink(object="o", bridge="xapi0", uplink=UplinkView("wan0")), "wan0 belongs to br-theirs, which is not xenet's"),
        (AttachUplink(object="o", bridge="xapi0", uplink=UplinkView("none")), "there is no NIC none"),
        (CreatePort(object="o", bridge="none", port=structs.replace(PORT, device="vif3.0")), "there is no bridge none"),
        (CreatePort(object="o", bridge="xapi0", port=PORT), "vif1.0 exists already"),
        (SetPort(object="o", bridge="xapi0", port=structs.replace(PORT, device="vif3.0")), "there is no device vif3.0"),
        (RemoveAddress(object="o", device="br-theirs", address="10.0.0.5/24"), "br-theirs is not xenet's"),
    ],
)
def test_refusals(fake, step, text):
    fake.do(plan(fake, HostView({"xapi0": FULL})))
    assert fake.do([step]) == [StepFailure(step, text, False)]
    assert fake.switches() == {"xapi0": FULL}


def test_an_uplink_is_in_one_switch_only(fake):
    fake.do(plan(fake, HostView({"xapi0": FULL, "xapi1": SwitchView("xapi1", "net-b")})))
    assert fake.do([AttachUplink(object="o", bridge="xapi1", uplink=UplinkView("eth0", 9000))]) == []
    assert [view.uplink for view in fake.switches().values()] == [None, UplinkView("eth0", 9000)]
    assert fake.nics(["eth0"])[0].mtu == 9000


def test_addresses_move_between_nic_and_bridge(fake):
    back = [AddAddress(object="e", bridge="eth0", address="10.0.0.5/24"), AddRoute(object="e", bridge="eth0", route=ROUTE)]
    assert fake.do(back) == []
    nic = fake.nics([])[0]
    assert (nic.addresses, nic.gateway) == (("10.0.0.5/24",), "10.0.0.1")
    assert fake.do(diff_host(HostView({"xapi0": FULL}), HostView(), {"eth0": nic.addresses})) == []
    assert fake.nics(["eth0", "none"])[0].addresses == ()


def test_what_is_gone_is_no_failure(fake):
    gone = [
        RemovePort(object="a", bridge="xapi0", port=PORT),
        DeleteSwitch(object="b", bridge="xapi0"),
        RemoveAddress(object="c", device="none", address="10.0.0.5/24"),
    ]
    assert fake.do(gone) == []
    fake.do(plan(fake, HostView({"xapi0": structs.replace(FULL, uplink=None)})))
    assert fake.do([DetachUplink(object="d", bridge="xapi0", device="eth0")]) == []
    assert (fake.foreign("br-theirs"), fake.foreign("xapi0"), fake.foreign_master("wan0"), fake.foreign_master("eth0")) == (
        True,
        False,
        "br-theirs",
        None,
    )


BOND = UplinkView("bond0", bond=BondView(("eth0", "wan0"), "balance-slb", ETH0.mac, "eth0"))


def test_a_bond_takes_its_nics_and_a_nic_leaves_one() -> None:
    datapath = FakeDatapath([structs.replace(ETH0, carrier=True), WAN0])
    alone, both = SwitchView("xapi0", "net-a", uplink=UplinkView("eth0")), SwitchView("xapi1", "net-b", mac=ETH0.mac, uplink=BOND)
    reach(datapath, alone)
    reach(datapath, both)
    assert datapath.bonds() == [BondLinks("bond0", ("eth0",), ("eth0",))]
    assert datapath.steer() == set(), "it is new, and goes no other way than before"
    attach = AttachUplink(object="net-a", bridge="xapi0", uplink=UplinkView("eth0"))
    create = CreateSwitch(object="net-a", switch=alone)
    assert datapath.do([create, attach]) == []
    uplink = datapath.state["xapi1"].uplink
    assert uplink and uplink.bond and uplink.bond.slaves == ("wan0",)
    vlan = UplinkView("bond0.7", 9000, vlan=VLANView("bond0", 7))
    (failure,) = datapath.do([AttachUplink(object="net-a", bridge="xapi0", uplink=vlan)])
    assert failure.text == "Numerical result out of range"
    missing = structs.replace(BOND, bond=BondView(("eth0", "eth9"), "lacp", ETH0.mac))
    (failure,) = datapath.do([AttachUplink(object="net-b", bridge="xapi1", uplink=missing)])
    assert failure.text == "there is no NIC eth9"
    reach(datapath)
    assert datapath.state == {}


def reach(datapath: FakeDatapath, *wanted: SwitchView) -> None:
    assert datapath.do(diff_host(HostView({view.bridge: view for view in wanted}), HostView(datapath.switches()))) == []
