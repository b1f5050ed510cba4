"""host: how one joins the pool and what it says of itself; enable, disable; its management interface."""

from datetime import datetime

from xenet import __version__
from xenet.model.change import Draft
from xenet.model.derived import Tunnel
from xenet.model.errors import Failure, not_allowed
from xenet.model.hidden import NIC, HostFacts
from xenet.model.host import Host, HostMetrics
from xenet.model.pif import PIF
from xenet.model.pool import Pool
from xenet.model.state import PoolState
from xenet.model.types import NULL, HostRef, PIFRef, Ref, StrMap, ref_of
from xenet.verbs.adopt import adopt_nics, refresh_metrics
from xenet.verbs.attach import check_live
from xenet.verbs.bond_copy import copy_bonds
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.himn import ensure_himn
from xenet.verbs.registry import message
from xenet.verbs.snooping import check_not_snooping
from xenet.verbs.start_of_day import has_started_anew, start_of_day
from xenet.verbs.trunk_check import check_no_trunks
from xenet.verbs.vlan import copy_vlans

API_VERSION = (2, 21)
PRODUCT_VERSION = "8.4.0"
"""The XenServer release whose API this is; clients split it on dots and want integers."""


def hello(
    call: Call,
    host: str,
    name: str,
    backend: str,
    nics: tuple[NIC, ...],
    guests: str,
    place: str = "",
    gre: bool = False,
    lacks: tuple[str, ...] = (),
) -> Outcome:
    """A host's agent has come: make its host (and the pool with the first), its PIFs and their networks, and note it live.

    `host` is its uuid, kept by the agent; `guests` what VMs are here by default (namespace or tap);
    `place` where those of namespaces are; `gre` whether its kernel has GRE; `lacks` those of VLANs and bonds that it has not.
    """
    work = Work(call)
    record = call.state.find(Host, ref_of(host)) or _new_host(work, host, name)
    _ensure_pool(work, record.ref, guests)
    ensure_himn(work)
    work.update(record, software_version={**software_version(), "network_backend": backend}, name_label=record.name_label or name)
    facts = work.state.find(HostFacts, record.ref) or HostFacts(uuid=host, host=record.ref)
    work.put(facts)
    work.update(facts, nics=nics, place=place, gre=gre, lacks=lacks, backend="")
    adopt_nics(work, record.ref)
    copy_bonds(work, record.ref, next(work.state.all(Pool)).master)
    copy_vlans(work, record.ref, next(work.state.all(Pool)).master)
    if has_started_anew(facts.place, place):
        start_of_day(work, record.ref)
    refresh_metrics(work, record.ref, call.now)
    set_live(work, record.ref, call, live=True)
    return work.outcome(record.ref)


def software_version() -> dict[str, str]:
    return {"product_brand": "xenet", "product_version": PRODUCT_VERSION, "xenet": __version__}


def _new_host(work: Work, uuid: str, name: str) -> Host:
    call = work.call
    metrics = work.put(HostMetrics(uuid=call.entropy.uuid(), last_updated=call.now))
    return work.put(
        Host(
            uuid=uuid,
            name_label=name,
            API_version_major=API_VERSION[0],
            API_version_minor=API_VERSION[1],
            API_version_vendor="XenSource",
            enabled=True,
            software_version=software_version(),
            other_config={},
            capabilities=(),
            hostname=name,
            address="",
            metrics=metrics.ref,
            tags=(),
        )
    )


def _ensure_pool(work: Work, master: Ref, guests: str) -> None:
    if next(work.state.all(Pool), None) is None:
        work.put(
            Pool(
                uuid=work.call.entropy.uuid(),
                name_label="",
                name_description="",
                master=master,
                default_SR=NULL,
                other_config={"xenet-guest": guests},
            )
        )


def set_live(work: Draft, host: Ref, call: Call, *, live: bool) -> None:
    """Whether the host's agent is connected."""
    record = work.state.find(Host, host)
    metrics = record and work.state.find(HostMetrics, record.metrics)
    if metrics and metrics.live != live:
        work.update(metrics, live=live, last_updated=call.now)


def gone(call: Call, host: Ref) -> Outcome:
    """A host's agent has left."""
    work = Work(call)
    set_live(work, host, call, live=False)
    return work.outcome()


def all_gone(call: Call) -> Outcome:
    """A server that has just started hears of no host yet."""
    work = Work(call)
    for host in call.state.all(Host):
        set_live(work, host.ref, call, live=False)
    return work.outcome()


@message("host", PIFRef)
def get_management_interface(call: Call, host: HostRef) -> Ref:
    """The PIF with management=true. Raises INTERNAL_ERROR when the host has none, as XenServer does."""
    call.state.get(Host, host)
    for pif in call.state.where(PIF, "host", host):
        if pif.management:
            return pif.ref
    raise Failure("INTERNAL_ERROR", "the host has no management interface")


@message("host")
def enable(call: Call, host: HostRef) -> Outcome:
    return _set_enabled(call, host, True)


@message("host")
def disable(call: Call, host: HostRef, auto_enable: bool = True) -> Outcome:
    """No VM is started on a disabled host; those that run there go on."""
    return _set_enabled(call, host, False)


def _set_enabled(call: Call, host: Ref, value: bool) -> Outcome:
    work = Work(call)
    work.update(call.state.get(Host, host), enabled=value)
    return work.outcome()


@message("host", datetime)
def get_servertime(call: Call, host: HostRef) -> datetime:
    call.state.get(Host, host)
    return call.now


@message("host", str)
def call_plugin(call: Call, host: HostRef, plugin: str, fn: str, args: StrMap) -> str:
    """xenet's hosts have no plugins. Raises XENAPI_MISSING_PLUGIN [plugin]."""
    call.state.get(Host, host)
    raise Failure("XENAPI_MISSING_PLUGIN", plugin)


@message("host", bool)
def is_in_emergency_mode(call: Call) -> bool:
    """Never: the server is the pool, so there is no coordinator to lose."""
    return False


@message("host", ours=True)
def set_network_backend(call: Call, host: HostRef, backend: str) -> Outcome:
    """The host's switches are made by `bridge` or `openvswitch` from now on: same networks, addresses and VIFs, VMs running or not; frames
    rest while it changes. A XenServer has a program for it, xe-switch-network-backend, and starts anew. Raises INVALID_VALUE [backend, value],
    HOST_OFFLINE [host], OTHER_OPERATION_IN_PROGRESS, OPERATION_NOT_ALLOWED [text] where bridges cannot do what the host has."""
    record = call.state.get(Host, host)
    if backend not in ("bridge", "openvswitch"):
        raise Failure("INVALID_VALUE", "backend", backend)
    check_live(call.state, host)
    work = Work(call)
    if record.software_version.get("network_backend") == backend:
        return work.outcome()
    if backend == "bridge":
        check_not_snooping(call.state)
        check_no_trunks(call.state, host)
        _check_bridges_do(call.state, record)
    facts = work.update(call.state.get(HostFacts, host), backend=backend)

    def done(draft: Draft) -> None:
        now = draft.state.get(Host, host)
        draft.update(now, software_version={**now.software_version, "network_backend": backend})

    return work.await_host(host, [(facts, "set_network_backend")], done)


def _check_bridges_do(state: PoolState, host: Host) -> None:
    """Whether bridges can have what the host has on Open vSwitch, of which the kernel needs nothing for it."""
    facts, kernel = state.get(HostFacts, host.ref), f"the kernel of {host.name_label}"
    for pif in state.where(PIF, "host", host.ref):
        if pif.VLAN >= 0 and "VLANs" in facts.lacks:
            raise not_allowed(f"{pif.device} has VLAN {pif.VLAN}, and {kernel} has no VLAN devices (8021q)")
        if "bonds" in facts.lacks and state.back(pif.ref, PIF.bond_master_of):
            raise not_allowed(f"{pif.device} is a bond, and {kernel} has no bonds (bonding)")
        if not facts.gre and any(tunnel.protocol == "gre" for tunnel in state.where(Tunnel, "access_PIF", pif.ref)):
            raise not_allowed(f"{pif.device} is a tunnel by GRE, and {kernel} has no ip_gre: make one with protocol=vxlan instead")
