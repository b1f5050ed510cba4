"""`xenet serve --datapath fake`: hosts in memory, and VMs for them, made by the API's own messages."""

import asyncio
from typing import Any

from xenet.agent.simulated import Simulated, simulated, simulated_hosts
from xenet.model.hidden import HostFacts
from xenet.model.host import Host
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState
from xenet.model.types import NULL
from xenet.server.dispatch import decode_args
from xenet.server.main import Server
from xenet.verbs.catalogue import MESSAGES

MEMORY = 256 << 20
VM_RECORD: dict[str, Any] = {
    "name_description": "made at the start",
    "is_a_template": False,
    "affinity": NULL,
    **dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"), MEMORY),
    **dict.fromkeys(("VCPUs_max", "VCPUs_at_startup"), 1),
    "actions_after_shutdown": "destroy",
    "actions_after_reboot": "restart",
    "actions_after_crash": "restart",
    "HVM_boot_policy": "",
    "HVM_boot_params": {},
    "platform": {"cores-per-socket": "1"},
    "other_config": {},
    "recommendations": "",
}


async def keep_simulated(options: dict[str, Any], server: Server, furnished: asyncio.Event) -> None:
    """The pool's hosts, or those that the options name where it has none yet, for as long as the server runs; the event says that they are
    there, and with them the VMs of a new pool."""
    known = known_hosts(server.store.snapshot())
    hosts = known or new_hosts(options)
    async with simulated_hosts(str(server.settings.state / "link"), hosts, options["guests"]):
        await _settle(server)
        if not known:
            await furnish(server, [host.name for host in hosts], options["vms"])
        furnished.set()
        await asyncio.Event().wait()


def known_hosts(state: PoolState) -> list[Simulated]:
    """The hosts of an earlier start, or of an inventory, in the order of their names."""
    found = sorted(state.all(Host), key=lambda host: (host.name_label, host.uuid))
    facts = {host.ref: state.find(HostFacts, host.ref) for host in found}
    return [Simulated(host.uuid, host.name_label, fact.nics) for host in found if (fact := facts[host.ref]) is not None]


def new_hosts(options: dict[str, Any]) -> list[Simulated]:
    names = [options["name"]] if options["name"] else [f"host{number + 1}" for number in range(options["hosts"])]
    return [simulated(options["seed"], number, name, options["nics"] or ("eth0",)) for number, name in enumerate(names)]


async def _settle(server: Server) -> None:
    """Until the hosts have reported that their PIFs are up."""
    while not all(pif.currently_attached or not pif.plugged for pif in server.store.snapshot().all(PIF)):
        await asyncio.sleep(0.005)


async def furnish(server: Server, hosts: list[str], vms: int) -> None:
    """VMs vm1, vm2 ... with a VIF on the network of the hosts' first NIC, running on the hosts in turn."""
    state = server.store.snapshot()
    network = (
        next(net.ref for net in state.all(Network) if any(pif.device == "eth0" for pif in state.where(PIF, "network", net.ref))) if vms else NULL
    )
    for number in range(vms):
        vm = await _call(server, "VM.create", {**VM_RECORD, "name_label": f"vm{number + 1}"})
        vif = {"device": "0", "network": network, "VM": vm, "MAC": "", "MTU": 1500, "other_config": {}}
        await _call(server, "VIF.create", {**vif, "qos_algorithm_type": "", "qos_algorithm_params": {}})
        host = state.refs_where("host", "name_label", hosts[number % len(hosts)])[0]
        await _call(server, "VM.start_on", vm, host, False, False)


async def _call(server: Server, name: str, *given: Any) -> Any:
    message = MESSAGES[name]
    return await server.core.run(message, decode_args(message, list(given)))
