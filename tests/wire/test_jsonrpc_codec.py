"""JSON-RPC in both versions, and what is no call."""

import json
from datetime import UTC, datetime
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenet.wire import jsonrpc
from xenet.wire.text import MOST_LEVELS, MOST_PARTS, Malformed

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TREE = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)
V1 = jsonrpc.JSONCall("a.b", [], 7, 1)
V2 = jsonrpc.JSONCall("a.b", [], 0, 2)


@given(st.lists(TREE, max_size=4), st.integers(-(2**31), 2**31) | TEXT)
def test_calls_are_read_whole(params, own):
    body = json.dumps({"jsonrpc": "2.0", "method": "a.b", "params": params, "id": own}).encode()
    assert jsonrpc.decode_call(body) == ("a.b", params, own, 2)


@given(TREE)
def test_answers_are_read_by_the_standard_library(value):
    assert json.loads(jsonrpc.encode_success(V2, value)) == {"jsonrpc": "2.0", "result": value, "id": 0}
    assert json.loads(jsonrpc.encode_success(V1, value)) == {"result": value, "error": None, "id": 7}


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ('{"method": "a", "params": ["x"], "id": 0}', 1),
        ('{"jsonrpc": "1.0", "method": "a", "params": ["x"], "id": 0}', 1),
        ('{"jsonrpc": "2.0", "method": "a", "params": ["x"], "id": 0, "more": 1}', 2),
    ],
)
def test_the_version_is_the_caller_s(body, version):
    assert jsonrpc.decode_call(body.encode()) == ("a", ["x"], 0, version)


def test_parameters_may_be_left_out():
    assert jsonrpc.decode_call(b'{"method": "a", "id": ""}') == ("a", [], "", 1)


def test_the_form_of_results():
    value = {"MTU": 1500, "at": datetime(2026, 1, 1, tzinfo=UTC), "rate": 1.0, "tags": (), "maps": MappingProxyType({"k": None}), "list": ({},)}
    text = '{"MTU":1500,"at":"20260101T00:00:00Z","rate":1.0,"tags":[],"maps":{"k":""},"list":[{}]}'
    assert jsonrpc.encode_success(V2, value).decode() == f'{{"jsonrpc":"2.0","result":{text},"id":0}}'
    assert jsonrpc.encode_success(V1, None) == b'{"result":"","error":null,"id":7}'


def test_the_form_of_refusals():
    description = ["HANDLE_INVALID", "VM", "OpaqueRef:1"]
    error = '{"code":1,"message":"HANDLE_INVALID","data":["VM","OpaqueRef:1"]}'
    assert jsonrpc.encode_failure(V2, description).decode() == f'{{"jsonrpc":"2.0","error":{error},"id":0}}'
    assert jsonrpc.encode_failure(V1, description) == b'{"result":null,"error":["HANDLE_INVALID","VM","OpaqueRef:1"],"id":7}'


def test_what_has_no_type_is_an_error():
    with pytest.raises(TypeError, match="set"):
        jsonrpc.encode_success(V2, {"a": {1}})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"method": "a", "params": ["\xff"], "id": 1}', "\udcff"),
        (b'{"method": "a", "params": ["\\ud800"], "id": 1}', "\ud800"),
    ],
)
def test_odd_text_is_left_to_its_field(body, param):
    assert jsonrpc.decode_call(body).params == [param]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<methodCall/>",
        b"[]",
        b'[{"method": "a", "params": [], "id": 1}]',
        b'"a"',
        b'{"method": "a"}',
        b'{"method": "a", "id": null}',
        b'{"jsonrpc": "2.0", "method": "a", "params": []}',
        b'{"method": "", "id": 1}',
        b'{"params": [], "id": 1}',
        b'{"method": 1, "id": 1}',
        b'{"method": "a", "params": {"x": 1}, "id": 1}',
        b'{"method": "a", "params": null, "id": 1}',
        b'{"method": "a", "params": [], "id": [1]}',
        b'{"method": "a", "params": [], "id": true}',
        b'{"jsonrpc": "3.0", "method": "a", "id": 1}',
        b'{"method": "a", "params": [NaN], "id": 1}',
        b'{"method": "a", "id": 1} {}',
        b'{"method": "a", "id": 1',
        b'{"method": "\xff", "id": [1]}',
        b'{"method": "\xff\xfe", "id": 1}',
        b'{"method": "\\ud800", "id": 1}',
        b'{"method": "a", "id": "\\udfff"}',
        b'{"jsonrpc": "2.0", "method": "a", "id": "\xff"}',
        b'{"method": "a", "id": 1, "params": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_call_is_refused(body):
    with pytest.raises(Malformed):
        jsonrpc.decode_call(body)


@pytest.mark.parametrize(("param", "parts"), [("1", 1), ("[]", 2), ("{}", 2), ('""', 1)])
def test_a_call_has_parts_up_to_a_limit(param, parts):
    text = '{{"id": 1, "method": "a", "params": [{}]}}'
    around = 4  # of the two braces one counts, the bracket, two commas
    most = (MOST_PARTS - around + 1) // parts
    assert len(jsonrpc.decode_call(text.format(",".join([param] * most)).encode()).params) == most
    with pytest.raises(Malformed, match="too many"):
        jsonrpc.decode_call(text.format(",".join([param] * (most + 1))).encode())


@given(st.binary(max_size=100))
def test_no_bytes_end_in_another_error(body):
    with pytest.raises(Malformed):
        jsonrpc.decode_call(body)


@pytest.mark.parametrize("shape", ['{{"a": {}}}', "[{}]"])
def test_values_too_deep_are_refused(shape):
    def body(levels):
        value = '"x"'
        for _ in range(levels):
            value = shape.format(value)
        return f'{{"method": "a", "params": [["wide"], {value}], "id": 0}}'.encode()

    assert jsonrpc.decode_call(body(MOST_LEVELS)).params[0] == ["wide"]
    for levels in (MOST_LEVELS + 1, 5 * MOST_LEVELS):
        with pytest.raises(Malformed, match="deeply"):
            jsonrpc.decode_call(body(levels))
