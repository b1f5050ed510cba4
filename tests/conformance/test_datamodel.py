"""The declarations against the facts of the XenAPI reference, field by field and message by message."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from xenet.model.classes import API
from xenet.model.declare import APIType, Field, public_fields
from xenet.model.types import NULL, Qualifier, Record
from xenet.server.builtin import BUILTIN
from xenet.verbs.catalogue import MESSAGES
from xenet.verbs.empty import EMPTY_CLASSES
from xenet.verbs.registry import Message
from xenet.verbs.unimplemented import UNIMPLEMENTED

REFERENCE = Path(__file__).parent.parent / "reference" / "xenapi-datamodel.json"
FACTS: dict[str, dict[str, Any]] = {facts["name"]: facts for facts in json.loads(REFERENCE.read_text())["classes"]}
OURS: dict[str, Message] = {**MESSAGES, **BUILTIN}
CLASSES: dict[str, type[Record]] = {cls.xenapi: cls for cls in API}
DESCRIBED = [name for name in CLASSES if name in FACTS]
"""The classes that are declared and of which the facts say all; host_metrics, VM_metrics and VM_guest_metrics are not in them."""
WITHOUT_RECORDS = {"session"}
"""Classes that nobody can list: a reference is a secret."""
_MEMORY = (
    "memory",
    "memory_limits",
    "memory_static_range",
    "memory_dynamic_range",
    *(f"memory_{a}_{b}" for a in ("static", "dynamic") for b in ("min", "max")),
)
_MORE_OF_VM = {f"set_{name}" for name in (*_MEMORY, "VCPUs_max", "VCPUs_at_startup", "actions_after_crash", "HVM_boot_policy", "domain_type")}
_MORE_OF_VM |= {"get_allowed_VBD_devices", "set_appliance", "set_has_vendor_device", "set_ha_restart_priority"}
BESIDE_FACTS = {
    "VM": {"create", "destroy", *_MORE_OF_VM},
    "host": {"is_in_emergency_mode"},
    "event": set[str](),
}
"""What XenServer has, though the facts, where they are marked as a subset, do not list it."""
SETTABLE = {("pool", "guest_agent_config")} | {
    ("VM", name) for name in ("other_config", "platform", "blocked_operations", "bios_strings", "order", "start_delay", "shutdown_delay")
}
"""Read-only in the datamodel, yet with set_ (for maps add_to_ and remove_from_) messages that xe and Xen Orchestra call."""
IN_WORDS = {"event.from": "any"}
"""Results that the reference describes in words, with our type: a struct of no class."""


def fact_fields(name: str) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in FACTS[name]["fields"]}


FIELDS = [pytest.param(cls, name, id=f"{cls}.{name}") for cls in DESCRIBED for name in fact_fields(cls)]


def explicit(cls: str) -> dict[str, dict[str, Any]]:
    """The facts' messages, hidden ones too, by name."""
    hidden = [{**message, "hidden": True} for message in FACTS[cls].get("hidden_messages", [])]
    return {message["name"]: message for message in (*FACTS[cls]["messages"], *hidden)}


LISTED = [pytest.param(cls, name, id=f"{cls}.{name}") for cls in (*DESCRIBED, "event") for name in explicit(cls)]


# --- fields --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", DESCRIBED)
def test_a_class_has_the_fields_of_the_reference_in_their_order(cls):
    """Of a class that the reference holds in part, fields that clients read may follow."""
    ours, facts = list(public_fields(CLASSES[cls])), list(fact_fields(cls))
    assert ours[: len(facts)] == facts
    assert len(ours) == len(facts) or FACTS[cls].get("subset")


UNGUARDED = {
    "pool": "other_config restrictions ha_statefiles master uuid cpu_info suspend_image_SR crash_dump_SR",
    "host": "software_version license_params other_config chipset_info capabilities PIFs PCIs PGPUs PBDs patches resident_VMs cpu_info address",
    "PIF": "bond_master_of bond_slave_of other_config metrics",
    "VIF": "other_config qos_algorithm_params device MAC MTU network ipv4_addresses ipv4_gateway ipv6_addresses ipv6_gateway",
    "VM": "consoles VCPUs_params VIFs VBDs platform other_config xenstore_data snapshots snapshot_time guest_metrics is_a_template VTPMs VGPUs",
    "task": "other_config status result error_info",
}
"""What Xen Orchestra and Ansible read of a record without asking whether it is there."""


@pytest.mark.parametrize("cls", UNGUARDED)
def test_a_record_has_what_clients_read_unguarded(cls):
    assert set(UNGUARDED[cls].split()) <= set(public_fields(CLASSES[cls]))


@pytest.mark.parametrize(("cls", "name"), FIELDS)
def test_a_field_is_as_in_the_reference(cls, name):
    ours, facts = public_fields(CLASSES[cls])[name], fact_fields(cls)[name]
    assert str(ours.type) == facts["type"]
    assert ours.qualifier.value == facts["qualifier"]
    assert (name in CLASSES[cls].removed) == (facts.get("state") == "removed")
    if "default" in facts:
        assert not ours.required
        assert ours.default == default_of(ours.type, facts["default"])
    elif ours.qualifier is not Qualifier.RO:
        assert ours.required, "a constructor must be given it"


def default_of(type_: APIType, text: str) -> Any:
    """A default as the reference spells it: `""`, `{}`, `Null`, `{"k" -> "v"}`, `0.`, `19700101T00:00:00Z`, an enum's bare value."""
    return SPELLINGS[type_.kind](text)


def pairs_of(text: str) -> dict[str, str]:
    pairs = [pair.split(" -> ") for pair in text.strip("{}").split(", ") if pair]
    return {key.strip('"'): value.strip('"') for key, value in pairs}


SPELLINGS: dict[str, Callable[[str], Any]] = {
    "ref": {"Null": NULL, str(NULL): NULL}.__getitem__,
    "string": lambda text: text.removeprefix('"').removesuffix('"'),
    "set": {"{}": ()}.__getitem__,
    "map": pairs_of,
    "datetime": lambda text: datetime.strptime(text, "%Y%m%dT%H:%M:%SZ").replace(tzinfo=UTC),
    "bool": {"true": True, "false": False}.__getitem__,
    "int": int,
    "float": float,
    "enum": str,
}


def enums_of(type_: APIType | None) -> dict[str, tuple[str, ...]]:
    if type_ is None:
        return {}
    own = {type_.name: type_.values} if type_.kind == "enum" else {}
    return {**own, **enums_of(type_.of), **enums_of(type_.key)}


@pytest.mark.parametrize("cls", DESCRIBED)
def test_an_enum_has_the_values_of_the_reference(cls):
    ours: dict[str, tuple[str, ...]] = {}
    for field in public_fields(CLASSES[cls]).values():
        ours |= enums_of(field.type)
    for name, values in FACTS[cls]["enums"].items():
        assert sorted(ours[name]) == sorted(values), name


# --- messages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "name"), LISTED)
def test_a_message_is_as_in_the_reference_or_says_why_not(cls, name):
    ours, facts = OURS.get(f"{cls}.{name}"), explicit(cls)[name]
    why_not = UNIMPLEMENTED.get(cls, {}).get(name)
    if ours is None:
        assert why_not, f"{cls}.{name} is neither implemented nor listed with a reason"
        return
    assert why_not is None, f"{cls}.{name} is implemented, and yet listed as missing"
    assert str(ours.result) == IN_WORDS.get(ours.full_name, facts["result"])
    assert params_of(ours) == [(param["name"], param["type"], param.get("optional", False)) for param in facts["params"]]
    assert ours.hidden == facts.get("hidden", False)


def params_of(message: Message) -> list[tuple[str, str, bool]]:
    return [(param.name, str(param.type), not param.required) for param in message.params]


def test_only_messages_of_the_reference_are_listed_as_missing():
    """The facts hold no message of the classes that have no objects here."""
    for cls, missing in UNIMPLEMENTED.items():
        assert cls in EMPTY_CLASSES or set(missing) <= set(explicit(cls))


def expected_implicit(cls: str) -> dict[str, tuple[str, list[tuple[str, str, bool]]]]:
    """The messages that every class has, with result and parameters, as they follow from its fields."""
    me = ("self", f"{cls} ref", False)
    every: dict[str, tuple[str, list[tuple[str, str, bool]]]] = {
        "get_record": (f"{cls} record", [me]),
        "get_by_uuid": (f"{cls} ref", [("uuid", "string", False)]),
    }
    if cls not in WITHOUT_RECORDS:
        every["get_all"] = (f"{cls} ref set", [])
        every["get_all_records"] = (f"({cls} ref -> {cls} record) map", [])
        every["get_all_where"] = (f"{cls} ref set", [("expr", "string", False)])
        every["get_all_records_where"] = (f"({cls} ref -> {cls} record) map", [("expr", "string", False)])
    fields = public_fields(CLASSES[cls])
    if "name_label" in fields:
        every["get_by_name_label"] = (f"{cls} ref set", [("label", "string", False)])
    for field in fields.values():
        every[f"get_{field.name}"] = (str(field.type), [me])
        if field.qualifier is Qualifier.RW or (cls, field.name) in SETTABLE:
            every |= expected_setters(me, field)
    return every


def expected_setters(me: tuple[str, str, bool], field: Field) -> dict[str, tuple[str, list[tuple[str, str, bool]]]]:
    name, type_ = field.name, field.type
    setters = {f"set_{name}": ("void", [me, ("value", str(type_), False)])}
    if type_.kind == "map":
        key = ("key", str(type_.key), False)
        setters[f"add_to_{name}"] = ("void", [me, key, ("value", str(type_.of), False)])
        setters[f"remove_from_{name}"] = ("void", [me, key])
    if type_.kind == "set":
        setters[f"add_{name}"] = ("void", [me, ("value", str(type_.of), False)])
        setters[f"remove_{name}"] = ("void", [me, ("value", str(type_.of), False)])
    return setters


@pytest.mark.parametrize("cls", CLASSES)
def test_implicit_messages_follow_from_the_fields(cls):
    expected = expected_implicit(cls)
    ours = {message.name: message for message in OURS.values() if message.cls == cls}
    for name, (result, params) in expected.items():
        assert (str(ours[name].result), params_of(ours[name])) == (result, params), name


@pytest.mark.parametrize("cls", DESCRIBED)
def test_every_implicit_message_of_the_reference_is_there(cls):
    implicit = FACTS[cls]["implicit_messages"]
    if isinstance(implicit, str):
        assert implicit.startswith("get_all,get_all_records,get_all_records_where,get_all_where,get_record")
        return  # the general rule, which the test above holds for every class
    missing = [name for name in implicit if f"{cls}.{name}" not in OURS]
    assert missing == []


@pytest.mark.parametrize("cls", (*DESCRIBED, "event"))
def test_no_message_is_made_up(cls):
    """What is not XenServer's says so by `ours`, and stays out of nobody's way."""
    implicit = FACTS[cls]["implicit_messages"]
    known = {*explicit(cls), *BESIDE_FACTS.get(cls, ()), *(implicit if isinstance(implicit, list) else ())}
    known |= set(expected_implicit(cls)) if cls in CLASSES else set()
    made_up = [m.full_name for m in OURS.values() if m.cls == cls and m.name not in known and not m.ours]
    assert made_up == []
