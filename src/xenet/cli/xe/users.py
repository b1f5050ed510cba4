"""Commands on users beside root, and on their roles."""

from collections.abc import Mapping
from typing import Any

from xenet.cli.xe.context import Context
from xenet.cli.xe.grammar import Misuse

Values = Mapping[str, Any]


def subject_add(ctx: Context, values: Values) -> None:
    """xenet keeps its users itself, so the name is the identifier, and a password can be given at once."""
    name = values["subject-name"]
    subject = ctx.call("subject.create", {"subject_identifier": name, "other_config": {"subject-name": name}})
    if values["new"]:
        ctx.call("subject.set_password", subject, values["new"])
    ctx.out.values([ctx.uuid("subject", subject)])


def subject_list(ctx: Context, values: Values) -> None:
    roles = {ref: record["name_label"] for ref, record in ctx.call("role.get_all_records").items()}
    rows = [
        [one["uuid"], one["subject_identifier"], ", ".join(sorted(roles.get(role, role) for role in one["roles"]))]
        for one in ctx.call("subject.get_all_records").values()
    ]
    ctx.out.table(["UUID", "NAME", "ROLES"], sorted(rows, key=lambda row: row[1]))


def role_list(ctx: Context, values: Values) -> None:
    rows = [[role["name_label"], role["name_description"]] for role in ctx.call("role.get_all_records").values()]
    ctx.out.table(["NAME", "DESCRIPTION"], sorted(rows))


def role_add(ctx: Context, values: Values) -> None:
    ctx.call("subject.add_to_roles", values["uuid"], _role(ctx, values["role-name"]))


def role_remove(ctx: Context, values: Values) -> None:
    ctx.call("subject.remove_from_roles", values["uuid"], _role(ctx, values["role-name"]))


def _role(ctx: Context, name: str) -> str:
    found: list[str] = ctx.call("role.get_by_name_label", name)
    if not found:
        raise Misuse(f"There is no role '{name}'")
    return found[0]
