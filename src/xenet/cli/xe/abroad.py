"""vm-migrate to another pool: what xe asks that pool for, as a client of both."""

from collections.abc import Callable, Mapping
from typing import Any

from xenet.cli.xe.connect import Server, open_session, url_of
from xenet.cli.xe.context import Context
from xenet.cli.xe.cost import cost_of
from xenet.cli.xe.errors import describe
from xenet.cli.xe.execute import Reported
from xenet.cli.xe.grammar import Misuse
from xenet.cli.xe.records import Row
from xenet.cli.xe.tasks import run_task
from xenet.client import Unreachable
from xenet.model.errors import Failure

Values = Mapping[str, Any]
Call = Callable[..., Any]
REMOTE = ("remote-master", "remote-username", "remote-password")


def is_abroad(values: Values) -> bool:
    """Whether a vm-migrate means another pool."""
    return any(values[name] for name in (*REMOTE, "remote-network", "vif", "vdi"))


def migrate_abroad(ctx: Context, vm: Row, values: Values) -> None:
    """Raises Misuse, Reported for what the other pool refuses, Failure."""
    if missing := [name for name in REMOTE if not values[name]]:
        raise Misuse(f"Another pool's {', '.join(missing)} must be given")
    url = url_of(values["remote-master"])
    try:
        client = open_session(Server(url, values["remote-username"], None), values["remote-password"], local=False)
    except Failure as failure:
        raise _refused(failure) from failure
    except Unreachable as error:
        raise _unreachable(error) from error
    with client:
        try:
            host = _host(client.call, values["host"] or values["host-uuid"])
            dest = client.call("host.migrate_receive", host, _network(client.call, host, values["remote-network"]), {})
            networks = {uuid: client.call("network.get_by_uuid", there) for uuid, there in values["vif"].items()}
        except Failure as failure:
            raise _refused(failure, client.call) from failure
        except Unreachable as error:
            raise _unreachable(error) from error
        vif_map = {ctx.ref("VIF", uuid): network for uuid, network in networks.items()}
        options = {name: str(values[name]).lower() for name in ("force", "copy", "compress") if values[name] != ""}
        cost = cost_of(run_task(ctx, "VM.migrate_send", vm.ref, dest, values["live"], {}, vif_map, options))
        name = client.call("host.get_name_label", host)
        runs = vm.record["power_state"] == "Running"
        what = f"runs in the other pool, on {name}" if runs else f"{'a copy is' if values['copy'] else 'is'} in the other pool, for {name}"
        ctx.out.message(f"{vm.record['name_label']}: {what}{f'; {cost}' if cost else ''}")


def _refused(failure: Failure, call: Call | None = None) -> Reported:
    return Reported(f"The other pool refuses: {describe(failure, call)}".rstrip())


def _unreachable(error: Unreachable) -> Reported:
    return Reported(f"Error: the other pool, remote-master=, cannot be reached: {error}")


def _host(there: Call, text: str) -> str:
    """The host of the other pool with this uuid, hostname or name-label; its only one where none was named. Raises Misuse."""
    hosts = there("host.get_all_records")
    found = [ref for ref, host in hosts.items() if text in ("", *(host[name] for name in ("uuid", "hostname", "name_label")))]
    if not text and len(found) > 1:
        raise Misuse("The other pool has several hosts: host=<uuid or name>")
    if len(found) != 1:
        raise Misuse(f"{len(found)} hosts there are called '{text}'" if found else f"No host there is called '{text}'")
    return str(found[0])


def _network(there: Call, host: str, text: str) -> str:
    """The network of the other pool with this uuid, name-label or bridge; without one that of the host's management. Raises Misuse."""
    if not text:
        found = [pif["network"] for pif in there("PIF.get_all_records").values() if pif["host"] == host and pif["management"]]
        if not found:
            raise Misuse("The host there has no management interface: remote-network=<uuid or name>")
        return str(found[0])
    networks = there("network.get_all_records")
    found = [ref for ref, network in networks.items() if text in (network[name] for name in ("uuid", "name_label", "bridge"))]
    if len(found) != 1:
        raise Misuse(f"{len(found)} networks there are called '{text}'")
    return str(found[0])
