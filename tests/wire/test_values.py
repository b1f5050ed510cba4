"""From loose values to declared types."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenet.model.declare import APIType
from xenet.model.errors import Failure
from xenet.wire.values import decode

STRING, INT, FLOAT, BOOL, WHEN = APIType("string"), APIType("int"), APIType("float"), APIType("bool"), APIType("datetime")
REF = APIType("ref", name="network")
MODE = APIType("enum", name="bond_mode", values=("balance-slb", "active-backup", "IPv4"))
REFS = APIType("set", of=REF)
RATES = APIType("map", key=INT, of=FLOAT)
ANY, VOID = APIType("any"), APIType("void")
MAX = 2**63 - 1
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("declared", "loose", "typed"),
    [
        (STRING, "x", "x"),
        (STRING, b"gr\xc3\xbcn", "grün"),
        (REF, "", ""),
        (INT, 55, 55),
        (INT, "55", 55),
        (INT, "-1", -1),
        (INT, str(MAX), MAX),
        (INT, -MAX - 1, -MAX - 1),
        (FLOAT, 60, 60.0),
        (FLOAT, "5.001", 5.001),
        (FLOAT, 0.5, 0.5),
        (BOOL, False, False),
        (WHEN, NEW_YEAR, NEW_YEAR),
        (WHEN, "20260101T00:00:00Z", NEW_YEAR),
        (WHEN, "2026-01-01T00:00:00", NEW_YEAR),
        (MODE, "balance-slb", "balance-slb"),
        (MODE, "Active-Backup", "active-backup"),
        (MODE, "ipv4", "IPv4"),
        (REFS, [], ()),
        (REFS, ["b", "a", "b"], ("b", "a")),
        (APIType("set", of=INT), ["1", 1, 2], (1, 2)),
        (APIType("set", of=RATES), [{}, {}], ({}, {})),
        (RATES, {"0": 1, "1": "2.5"}, {0: 1.0, 1: 2.5}),
        (ANY, [None], [None]),
        (VOID, "", ""),
    ],
)
def test_what_clients_send_becomes_its_type(declared, loose, typed):
    got = decode(declared, loose, "f")
    assert got == typed
    assert type(got) is type(typed)


WRONG: list[tuple[APIType, list[Any]]] = [
    (STRING, [1, None, True, [], {}]),
    (INT, [True, 1.0, "", "x", "1.0", "0x10", " 1", "1_0", "\u0661", str(MAX + 1), MAX + 1, -MAX - 2, None]),
    (FLOAT, [True, "", "x", "nan", math.nan, math.inf, 10**400, None, []]),
    (BOOL, ["true", 1, 0, None]),
    (WHEN, ["", "soon", 5, None]),
    (MODE, [1, None]),
    (REFS, ["a", None, {}, [1]]),
    (RATES, [[], "x", {"x": 1}, {"1": "x"}]),
    (APIType("record", name="VIF"), ["x", []]),
]


@pytest.mark.parametrize(("declared", "loose"), [(declared, bad) for declared, values in WRONG for bad in values])
def test_another_type_is_refused_by_the_field_s_name(declared, loose):
    with pytest.raises(Failure) as refused:
        decode(declared, loose, "f")
    assert refused.value.description == ["FIELD_TYPE_ERROR", "f"]


@pytest.mark.parametrize(
    ("declared", "loose", "shown"),
    [
        (STRING, b"a\xff", "a\ufffd"),
        (STRING, "a\udcff", "a\ufffd"),
        (STRING, "a\x00b", "a\ufffdb"),
        (REFS, ["\x07"], "\ufffd"),
        (APIType("map", key=STRING, of=STRING), {"\ufffe": ""}, "\ufffd"),
    ],
)
def test_text_that_no_answer_could_carry_is_refused(declared, loose, shown):
    with pytest.raises(Failure) as refused:
        decode(declared, loose, "f")
    assert refused.value.description == ["INVALID_VALUE", "f", shown]


def test_an_unknown_enum_value_stands_alone():
    with pytest.raises(Failure) as refused:
        decode(MODE, "lacp", "mode")
    assert refused.value.description == ["INVALID_VALUE", "lacp"]


def test_of_a_record_only_what_a_constructor_takes_is_looked_at():
    loose = {"device": "0", "MTU": "1500", "MAC": "", "other_config": {}, "uuid": 5, "status_code": "", "metrics": None, "no_such": 1}
    assert decode(APIType("record", name="VIF"), loose, "record") == {"device": "0", "MTU": 1500, "MAC": "", "other_config": {}}


def test_a_record_s_bad_field_is_named():
    with pytest.raises(Failure) as refused:
        decode(APIType("record", name="VIF"), {"device": 0}, "record")
    assert refused.value.description == ["FIELD_TYPE_ERROR", "device"]


@given(st.integers(-MAX - 1, MAX))
def test_every_integer_as_text_and_as_number(number):
    assert decode(INT, str(number), "f") == decode(INT, number, "f") == number
