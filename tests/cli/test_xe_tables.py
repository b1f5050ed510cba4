"""xe's tables against XenServer's published ones (tests/reference/xe-commands.json) and against xenet's own records."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from xenet.cli.xe.catalog import commands
from xenet.cli.xe.error_texts import CLASSES, TEXTS
from xenet.cli.xe.fields import HIDDEN, Column, Table
from xenet.cli.xe.fields_absent import ABSENT
from xenet.cli.xe.tables import tables
from xenet.model.classes import API
from xenet.model.declare import APIType, public_fields
from xenet.server.builtin import BUILTIN
from xenet.verbs.catalogue import MESSAGES
from xenet.verbs.unimplemented import UNIMPLEMENTED

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "xe-commands.json").read_text())
RECORDS = {cls.xenapi: public_fields(cls) for cls in API}
REMOVED = {cls.xenapi: cls.removed for cls in API}
OUR_TABLES = {"message"}
"""Not among the published classes; XenServer's xe has it as well."""
TABLES = {table.name: table for table in tables() if table.name not in OUR_TABLES}
FLAGS = {"expensive", "case_insensitive", "deprecated", HIDDEN}
KIND_OF_FIELD = {"bytes": "int"}
KINDS = {"string": "string", "int": "int", "bool": "bool", "ref": "ref"}

NOT_OFFERED = {
    "vm-install": "there are no templates with disks to install from: vm-create",
    "vm-clone": "comes with copies of VMs",
    "vm-copy": "comes with copies of VMs",
    "vm-snapshot": "comes with snapshots",
    "snapshot-revert": "comes with snapshots",
    "snapshot-clone": "comes with snapshots",
    "template-uninstall": "comes with templates",
    "vm-compute-maximum-memory": "memory is the hypervisor's",
    "vm-import": "disks",
    "vm-export": "disks",
    "pool-ha-enable": "no high availability",
    "pool-ha-disable": "no high availability",
    "pool-enable-redo-log": "no storage",
    "pool-disable-redo-log": "no storage",
    "host-notify": "internal to XenServer",
    "sdn-controller-introduce": "xenet's agents are the switches' controller",
    "sdn-controller-forget": "xenet's agents are the switches' controller",
    "secret-create": "no secrets",
    "diagnostic-db-stats": "internal to XenServer",
}
"""Commands of XenServer that xe does not have here, each with its reason."""


def published(table: Table) -> dict[str, Any]:
    entry = REFERENCE["classes"][table.name]
    like = entry.get("fields_same_as")
    return {**REFERENCE["classes"][like], **entry} if like else entry


OUR_COLUMNS = {("vif", "runtime-properties")}


def published_fields(table: Table) -> dict[str, tuple[str, set[str]]]:
    rows = [row.split("|") for row in published(table)["fields"]]
    return {name: (marker, set(",".join(options).split(",")) - {""}) for name, marker, *options in rows}


def test_every_class_is_there() -> None:
    assert set(TABLES) == set(REFERENCE["classes"])
    assert {table.name for table in tables()} - set(TABLES) == OUR_TABLES


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_columns_stand_in_the_published_order_with_their_markers(table: Table) -> None:
    expected = [row for row in published_fields(table).items() if row[0] not in ABSENT.get(table.api, ())]
    shown = [column for column in table.columns if (table.name, column.name) not in OUR_COLUMNS]
    actual = [(column.name, (column.marker, set(column.flags & FLAGS))) for column in shown]
    assert actual == expected
    assert set(table.defaults) == set(published(table)["default_list_fields"])
    assert dict(table.filters) == published(table)["implicit_filters"]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_is_absent_is_published_and_nowhere_else(table: Table) -> None:
    shown = {column.name for column in table.columns if (table.name, column.name) not in OUR_COLUMNS}
    assert ABSENT.get(table.api, frozenset()) == set(published_fields(table)) - shown


@pytest.mark.parametrize("table", [table for table in TABLES.values() if table.api in RECORDS], ids=lambda table: table.name)
def test_no_record_has_a_field_that_is_called_absent(table: Table) -> None:
    """The plain ones: FIELD of the record with another spelling. A field that a record gains must get its column."""
    have = {name.replace("_", "-").lower() for name in RECORDS[table.api]} | {name.lower() for name in RECORDS[table.api]}
    assert {name for name in ABSENT.get(table.api, ()) if name.lower() in have} == set()


def _columns() -> list[tuple[Table, Column]]:
    return [(table, column) for table in TABLES.values() if table.api in RECORDS for column in table.columns]


@pytest.mark.parametrize(("table", "column"), _columns(), ids=lambda value: value.name)
def test_columns_show_fields_that_the_records_have(table: Table, column: Column) -> None:
    if column.field.endswith("()"):
        assert "expensive" in column.flags
        return
    field = RECORDS[table.api][column.field]
    assert _class_of(field.type) == column.target
    assert field.name not in REMOVED[table.api]
    if column.target in RECORDS:
        assert column.show in RECORDS[column.target]
        assert column.show not in REMOVED[column.target]
    if column.is_map and not column.target:
        assert field.type.kind == "map"
    if column.is_set and not column.target:
        assert field.type.kind == ("map" if "operations" in column.flags else "set")
    if column.settable or column.writable:
        assert _kind(field.type) == KIND_OF_FIELD.get(column.kind, column.kind)


def _class_of(kind: APIType) -> str:
    if kind.kind == "ref":
        return kind.name
    return _class_of(kind.of) if kind.of is not None else ""


def _kind(kind: APIType) -> str:
    if kind.kind in ("set", "map") and kind.of is not None:
        return _kind(kind.of)
    return "|".join(kind.values) if kind.kind == "enum" else KINDS[kind.kind]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_generated_commands_and_what_they_set(table: Table) -> None:
    entry = published(table)
    generated = {name for name, command in commands().items() if command.table == table}
    assert generated == {name.replace("vm-", f"{table.name}-", 1) for name in entry["generated_commands"]}
    shown = {column.name for column in table.columns}
    settable = {f"{column.name}:" if column.is_map else column.name for column in table.columns if column.settable}
    assert settable == {name for name in entry["param_set_names"] if name.removesuffix(":") in shown}
    growing = {column.name for column in table.columns if column.writable and (column.is_map or column.is_set)}
    assert growing == {name for name in entry["param_add_remove_names"] if name in shown}


def test_every_published_command_is_offered_or_says_why_not() -> None:
    assert set(REFERENCE["commands"]) - set(commands()) == set(NOT_OFFERED)


OFFERED = [name for name in REFERENCE["commands"] if name not in NOT_OFFERED]
OURS = {"vm-create": {"other-config"}, "pool-eject": {"force"}, "host-forget": {"force"}, "host-declare-dead": {"force"}}
"""Optional parameters that XenServer has not (--force instead of its question), or does not publish."""


@pytest.mark.parametrize("name", OFFERED)
def test_commands_take_what_is_published(name: str) -> None:
    entry, command = REFERENCE["commands"][name], commands()[name]
    assert {arg.name for arg in command.args if arg.default is None} == set(entry["required"])
    optional = {arg.name for arg in command.args if arg.default is not None} - OURS.get(name, set())
    assert optional == {option.removesuffix(":") for option in entry["optional"]}
    if name != "host-set-hostname-live":
        assert command.selector == entry.get("selector", "").removeprefix("<").removesuffix("-selectors>")
    assert command.local == (entry.get("session") == "local")


def test_error_texts_name_each_parameter_once() -> None:
    for code, (text, names) in TEXTS.items():
        assert text.endswith(".") or text[-1].isdigit(), code
        assert len(set(names.split())) == len(names.split()), code
    assert set(CLASSES.values()) <= set(RECORDS)


def test_every_error_that_xenet_raises_has_a_text() -> None:
    """Also those that other rooms pass by name: a code is a word in capitals."""
    sources = [path.read_text() for path in (Path(__file__).parents[2] / "src" / "xenet").rglob("*.py") if path.parent.name != "xe"]
    raised = {code for text in sources for code in re.findall(r'Failure\(\s*"([A-Z0-9_]+)"', text)}
    assert len(raised) > 60
    assert sorted(raised - set(TEXTS) - {"SESSION_AUTHENTICATION_FAILED"}) == [], "that one is told in a line of its own"


def test_what_is_settable_has_a_message_or_a_reason() -> None:
    """`xe vm-param-set memory-static-max=..` and its like are sent to a message that is there, or that says why it is not."""
    listed = {f"{cls}.{name}" for cls, names in UNIMPLEMENTED.items() for name in names}
    sent = {name for table in TABLES.values() for column in table.columns for name in _sent(table, column)}
    assert sorted(sent - set(MESSAGES) - listed) == []


def _sent(table: Table, column: Column) -> list[str]:
    if column.setter:
        return [column.setter if "." in column.setter else f"{table.api}.{column.setter}"]
    if not column.writable:
        return []
    return [f"{table.api}.{'add_to_' if column.is_map else 'add_' if column.is_set else 'set_'}{column.field}"]


def test_commands_send_messages_that_exist_or_have_a_reason() -> None:
    listed = {f"{cls}.{name}" for cls, names in UNIMPLEMENTED.items() for name in names}
    sent = {command.send for command in commands().values() if command.send}
    assert sorted(sent - set(MESSAGES) - set(BUILTIN) - listed) == []
