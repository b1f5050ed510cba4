"""VIF.configure_ipv4 and configure_ipv6: what a guest is told to give its NIC. Only a guest whose agent says that it listens can be told."""

import ipaddress
from collections.abc import Sequence

from xenet.model.allowed import find_allowed
from xenet.model.errors import Failure
from xenet.model.types import Ref, VIFRef
from xenet.model.vif import VIF, GuestIPv4Mode, GuestIPv6Mode
from xenet.model.vm import VM, VMGuestMetrics
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.registry import message

FEATURE = "feature-static-ip-setting"


@message("VIF")
def configure_ipv4(call: Call, self: VIFRef, mode: GuestIPv4Mode, address: str = "", gateway: str = "") -> Outcome:
    """Raises INVALID_CIDR_ADDRESS_SPECIFIED ["address"], ADDRESS_VIOLATES_LOCKING_CONSTRAINT [address],
    INVALID_IP_ADDRESS_SPECIFIED ["gateway"], VM_LACKS_FEATURE [vm]."""
    return _configure(call, self, 4, mode, address, gateway)


@message("VIF")
def configure_ipv6(call: Call, self: VIFRef, mode: GuestIPv6Mode, address: str = "", gateway: str = "") -> Outcome:
    """As for IPv4."""
    return _configure(call, self, 6, mode, address, gateway)


def _configure(call: Call, self: Ref, version: int, mode: str, address: str, gateway: str) -> Outcome:
    vif = call.state.get(VIF, self)
    if mode == "Static":
        _check(vif, version, vif.ipv4_allowed if version == 4 else vif.ipv6_allowed, address, gateway)
    _check_guest(call, vif)
    given = (address,) if mode == "Static" else ()
    fields = {"configuration_mode": mode, "addresses": given, "gateway": gateway if given else ""}
    work = Work(call)
    work.update(vif, **{f"ipv{version}_{name}": value for name, value in fields.items()})
    return work.outcome()


def _check(vif: VIF, version: int, allowed: Sequence[str], address: str, gateway: str) -> None:
    plain, slash, _ = address.partition("/")
    if not slash or find_allowed(address, version) is None:
        raise Failure("INVALID_CIDR_ADDRESS_SPECIFIED", "address")
    if vif.locking_mode == "locked" and not any(ipaddress.ip_address(plain) in ipaddress.ip_network(entry, strict=False) for entry in allowed):
        raise Failure("ADDRESS_VIOLATES_LOCKING_CONSTRAINT", plain)
    if gateway and ("/" in gateway or find_allowed(gateway, version) is None):
        raise Failure("INVALID_IP_ADDRESS_SPECIFIED", "gateway")


def _check_guest(call: Call, vif: VIF) -> None:
    vm = call.state.get(VM, vif.VM)
    metrics = call.state.find(VMGuestMetrics, vm.guest_metrics)
    if metrics is None or metrics.other.get(FEATURE) != "1":
        raise Failure("VM_LACKS_FEATURE", vm.ref)
