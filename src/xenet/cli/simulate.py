"""`xenet serve --datapath fake`: hosts in memory, and VMs for them, made by the API's own messages."""

import asyncio
from typing import Any

from xenet.agent.simulated import simulated_hosts
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.types import NULL
from xenet.model.vm import VM
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
    """Hosts and VMs as the options say, for as long as the server runs; the event says that they are there."""
    names = [options["name"]] if options["name"] else [f"host{number + 1}" for number in range(options["hosts"])]
    link = str(server.settings.state / "link")
    async with simulated_hosts(link, options["seed"], names, options["nics"] or ("eth0",), options["guests"]):
        await _settle(server)
        if not server.store.snapshot().count(VM):
            await furnish(server, names, options["vms"])
        furnished.set()
        await asyncio.Event().wait()


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
