"""Commands on the pool and its hosts that ask or say something first, and on alerts and sessions."""

from collections.abc import Mapping
from typing import Any

from xenet.cli.xe.context import Context
from xenet.cli.xe.grammar import Misuse, listed

Values = Mapping[str, Any]
SUBJECTS = (("VM", "vm-uuid"), ("Host", "host-uuid"), ("SR", "sr-uuid"), ("Pool", "pool-uuid"))
"""What an alert may be about, and the parameter that names it."""


def pool_join(ctx: Context, values: Values) -> None:
    message = "pool.join_force" if values["force"] else "pool.join"
    ctx.call(message, values["master-address"], values["master-username"], values["master-password"])
    ctx.out.message("Host agent will restart and attempt to join pool in 10.000 seconds...")


def pool_eject(ctx: Context, values: Values) -> None:
    ctx.require_consent("WARNING: ejecting a host from the pool makes it a pool of its own and forgets its settings and VMs.")
    ctx.call("pool.eject", values["host-uuid"])
    ctx.out.message("Specified host will attempt to restart as a master of a new pool in 10.000 seconds...")


def emergency_transition(ctx: Context, values: Values) -> None:
    if not values["force"]:
        raise Misuse("Two coordinators destroy a pool: be sure that the old one is down, then repeat with --force")
    ctx.call("pool.emergency_transition_to_master")


def host_reset_networking(ctx: Context, values: Values) -> None:
    """xenet's own: XenServer has a program for it on the host."""
    ctx.require_consent("WARNING: the host loses its management interface with all its PIFs; xe at the server's own socket is the way back.")
    ctx.call("host.reset_networking", values["host-uuid"])


def host_forget(ctx: Context, values: Values) -> None:
    ctx.require_consent("WARNING: a host should be forgotten only when it is down for good; all that is known of it is lost.")
    ctx.call("host.destroy", values["uuid"])


def host_declare_dead(ctx: Context, values: Values) -> None:
    ctx.require_consent("WARNING: a host that still runs while it is declared dead may have its VMs started twice.")
    ctx.call("host.declare_dead", values["uuid"])


def message_create(ctx: Context, values: Values) -> None:
    about = [(cls, uuid) for cls, name in SUBJECTS if (uuid := values[name])]
    if len(about) != 1:
        raise Misuse(f"Exactly one of {', '.join(name for _, name in SUBJECTS)} is needed")
    ctx.call("message.create", values["name"], values["priority"], *about[0], values["body"])


def message_destroy(ctx: Context, values: Values) -> None:
    uuids = listed(values["uuids"] or values["uuid"])
    if not uuids:
        raise Misuse("Which ones? uuids=<uuid>,<uuid>..")
    ctx.call("message.destroy_many", [ctx.ref("message", uuid) for uuid in uuids])


def logout_all(ctx: Context, values: Values) -> None:
    for identifier in ctx.call("session.get_all_subject_identifiers"):
        ctx.call("session.logout_subject_identifier", identifier)


def unimplemented_calls(ctx: Context, values: Values) -> None:
    """xenet's own."""
    rows: list[Mapping[str, str]] = ctx.call("Diagnostics.get_unimplemented_calls")
    names = ("message", "count", "last", "reason")
    ctx.out.table([name.upper() for name in names], [[row[name] for name in names] for row in rows])
