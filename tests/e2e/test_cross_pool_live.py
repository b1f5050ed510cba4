"""A virtual machine that QEMU runs moves between two pools while it runs."""

import io
import re
from collections.abc import Iterator
from contextlib import closing

import pytest
import XenAPI

from tests.e2e.abroad import HOSTS, Border, border
from tests.e2e.echoes import echoes
from tests.e2e.test_migration_qemu import SLACK_MS, received
from tests.e2e.world import PASSWORD, until
from tests.tiny import tiny
from xenet.cli.xe.main import run as xe
from xenet.cli.xe.tasks import members

pytestmark = pytest.mark.kernel
MORE = 20
"""Frames: a tenth of a second's, in which a busy machine may not get to them."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Border]:
    tiny()
    with border(tmp_path_factory.mktemp("pools")) as made:
        yield made


def test_it_moves_there_and_back_under_traffic(site: Border) -> None:
    """A connection lives on, and no echo request is answered twice. The switch knows its place when the task ends, whose result is what both
    pools' hosts heard: as many are lost as went without an answer, but for a few other frames (ARP), or such as QEMU had yet to take from its tap."""
    with closing(site.talk()) as talk:
        for target in reversed(HOSTS):
            with echoes(site.router) as stream:
                talk.sendall(b"x" * 10_000)
                ended = site.move(target)
            assert ended["status"] == "success", ended["error_info"]
            said = members(ended["result"])
            assert site.port_of_it() == target
            assert site.where() == target
            assert received(talk, 10_000) == b"x" * 10_000
            assert stream.duplicated() == 0
            assert stream.gap() <= SLACK_MS
            assert (said["whole"], said["duplicated"]) == ("true", "0"), said
            assert -MORE <= int(said["lost"]) - len(stream.lost()) <= MORE, said
            assert all(float(said[name]) > 0 for name in ("frames", "gap", "pause", "announced")), said
            until(site.settled)
            assert site.answers()


def test_xe_moves_it(site: Border) -> None:
    target = site.elsewhere()
    here, there = site.pools[site.where()], site.pools[target]
    (vif,) = map(here.api.VIF.get_uuid, here.api.VM.get_VIFs(site.vm))
    network = there.api.network.get_uuid(there.external())
    words = ["vm-migrate", f"vm={site.uuid}", f"remote-master={there.url}", "remote-username=root", f"remote-password={PASSWORD}"]
    out, err = io.StringIO(), io.StringIO()
    status = xe([*words, "remote-network=xenbr0", f"vif:{vif}={network}"], {"XENET_SOCKET": here.socket}, io.StringIO(), out, err)
    assert (status, err.getvalue()) == (0, "")
    cost = r"\d+ of \d+ frames lost, 0 duplicated(, [\d.]+ ms without any)?, the VM itself stood still for \d+ ms"
    form = rf"machine: runs in the other pool, on {target}; {cost}, announced [\d.]+ ms after the switch-over began\n"
    assert re.fullmatch(form, out.getvalue()), out.getvalue()
    assert site.where() == target
    until(site.settled)


def test_refusals_change_nothing(site: Border) -> None:
    """What each of the two pools refuses, before anything is begun."""
    target = site.elsewhere()
    here, there = site.pools[site.where()], site.pools[target]
    vm, dest, live, vdis, vifs, options = site.arguments(target)
    bare = here.vm("a namespace", here.external())
    here.start(bare, site.where())
    before = there.api.VM.get_all_records()
    absent = dict.fromkeys(vifs, "OpaqueRef:absent")
    for message in (here.api.VM.assert_can_migrate, here.api.VM.migrate_send):
        for given, said in (
            ((vm, dest, live, vdis, vifs, {"copy": "true"}), ["VM_BAD_POWER_STATE", vm, "halted", "running"]),
            ((vm, dest, live, vdis, absent, options), ["HANDLE_INVALID", "network", "OpaqueRef:absent"]),
            ((vm, dest, live, vdis, {}, options), ["VIF_NOT_IN_MAP", *vifs]),
            ((vm, {**dest, "xenops": "http://192.0.2.1/"}, live, vdis, vifs, options), ["INVALID_VALUE", "address", "192.0.2.1"]),
            (
                (bare, dest, live, vdis, dict.fromkeys(here.api.VM.get_VIFs(bare), there.external()), options),
                ["OPERATION_NOT_ALLOWED", "the VM is a network namespace, which cannot leave its machine"],
            ),
        ):
            with pytest.raises(XenAPI.Failure) as refused:
                message(*given)
            assert refused.value.details == said
    assert here.api.VM.assert_can_migrate(vm, dest, live, vdis, vifs, options) == ""
    assert there.api.VM.get_all_records() == before
    here.api.VM.hard_shutdown(bare)
    here.api.VM.destroy(bare)
    assert site.settled()


def test_what_the_other_host_cannot_start_stays(site: Border) -> None:
    """It says so when it gets ready; nothing of it is left there."""
    target = site.elsewhere()
    source = site.where()
    here = site.pools[source]
    kernel = here.api.VM.get_PV_kernel(site.vm)
    here.api.VM.set_PV_kernel(site.vm, "/nowhere")
    try:
        ended = site.move(target)
    finally:
        here.api.VM.set_PV_kernel(site.vm, kernel)
    assert ended["status"] == "failure"
    assert ended["error_info"] == ["VALUE_NOT_SUPPORTED", "PV_kernel", "/nowhere", "not there on the VM's host, or not to be read"]
    until(site.settled)
    assert site.where() == source
    assert site.pools[target].api.VM.get_all() == []
