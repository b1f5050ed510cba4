"""What several steps of the tour do and ask: VIFs and addresses for VMs, PIFs, refusals, and whether the API answers."""

from xenet.lab.topology import Host
from xenet.lab.tour.stage import XE, CommandFailed, Stage
from xenet.lab.up import PASSWORD


def api_answers(stage: Stage, address: str) -> bool:
    """Whether the second host can log in there, at the port where the server listens."""
    port = stage.run.ready.read_text().split()[0].rpartition(":")[2].rstrip("/")
    try:
        hosts = stage.quietly(stage.lab.hosts[1].name, *XE, "-s", f"http://{address}:{port}", "-u", "root", "-pw", PASSWORD, "host-list", "--minimal")
    except CommandFailed:
        return False
    return len(hosts.split(",")) == len(stage.lab.hosts)


def find_pif(stage: Stage, name: str, host: Host, nic: int) -> str:
    """The PIF of a host's NIC, by the MAC, which no other has."""
    return stage.uuid(name, "pif", f"MAC={host.nics[nic].mac}")


def addresses(stage: Stage, where: str, device: str) -> list[str]:
    """The addresses of a device without their prefix lengths."""
    found = stage.links(where)[device]["addr_info"]
    return [entry["local"] for entry in found] if isinstance(found, list) else []


def refusal(stage: Stage, reason: str, *arguments: str) -> bool:
    """Whether `xe` refuses this, for that reason."""
    try:
        stage.xe(*arguments)
    except CommandFailed as refused:
        stage.show(str(refused).partition(": ")[2])
        return reason in str(refused)
    return False


def new_vif(stage: Stage, vm: str, network: str, device: int) -> str:
    """A VIF of the VM, not plugged."""
    uuid = stage.uuid(vm, "vm", f"name-label={vm}")
    return stage.make(f"{vm}_{device}", "vif-create", f"vm-uuid={uuid}", f"network-uuid={network}", f"device={device}")


def plugged(stage: Stage, vm: str, network: str, device: int) -> str:
    """A new VIF of the VM, in use."""
    vif = new_vif(stage, vm, network, device)
    stage.xe("vif-plug", f"uuid={vif}")
    return vif


def give(stage: Stage, vm: str, device: int, address: str) -> None:
    """An address for the guest's NIC."""
    stage.within(vm, "ip", "address", "add", address, "dev", f"eth{device}")
    stage.quietly(vm, "ip", "link", "set", f"eth{device}", "up")
