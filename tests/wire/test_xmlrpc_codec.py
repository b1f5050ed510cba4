"""The XML-RPC codec against the standard library's, and against what is no call."""

import xmlrpc.client
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenet.wire import xmlrpc as wire
from xenet.wire.text import MOST_PARTS, Malformed, clean

# What XML 1.0 can carry. xmlrpc.client writes a carriage return bare, which a parser reads as a line feed, so calls leave it out.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))
TEXT_OUT = st.text(st.one_of(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), st.sampled_from("\t\n\r&<>]")))
MOMENT = st.integers(-(10**10), 10**11).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
FLOAT = st.floats(allow_nan=False)


def trees(leaves, text):
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12)


@given(st.lists(trees(TEXT | st.booleans() | FLOAT | st.none() | st.integers(-(2**31), 2**31 - 1) | st.binary(), TEXT), max_size=4))
def test_calls_of_the_standard_library_are_read_whole(params):
    body = xmlrpc.client.dumps(tuple(params), "VIF.get_MAC", allow_none=True)
    assert wire.decode_call(body.encode()) == ("VIF.get_MAC", params)


def read(body) -> Any:
    return xmlrpc.client.loads(body)[0][0]


def as_sent(value):
    """What a client gets for a value: integers are text, nothing is null."""
    match value:
        case bool():
            return value
        case int():
            return str(value)
        case None:
            return ""
        case datetime():
            return xmlrpc.client.DateTime(value.strftime("%Y%m%dT%H:%M:%SZ"))
        case tuple() | list():
            return [as_sent(item) for item in value]
        case dict():
            return {name: as_sent(item) for name, item in value.items()}
    return value


@given(trees(TEXT_OUT | st.booleans() | FLOAT | st.none() | st.integers() | MOMENT, TEXT_OUT))
def test_answers_are_read_by_the_standard_library(value):
    assert read(wire.encode_success(value)) == {"Status": "Success", "Value": as_sent(value)}


@given(st.lists(TEXT_OUT, min_size=1).map(tuple))
def test_refusals_are_read_by_the_standard_library(description):
    assert read(wire.encode_failure(description)) == {"Status": "Failure", "ErrorDescription": list(description)}


@given(st.text(st.characters()))
def test_any_text_at_all_gives_an_answer_that_parses(text):
    assert read(wire.encode_success(text))["Value"] == clean(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "<value></value>"),
        ("x", "<value>x</value>"),
        (1500, "<value>1500</value>"),
        (True, "<value><boolean>1</boolean></value>"),
        (0.5, "<value><double>0.5</double></value>"),
        (datetime(2026, 1, 1, tzinfo=UTC), "<value><dateTime.iso8601>20260101T00:00:00Z</dateTime.iso8601></value>"),
        (("a",), "<value><array><data><value>a</value></data></array></value>"),
        ({"a": ()}, "<value><struct><member><name>a</name><value><array><data></data></array></value></member></struct></value>"),
        (None, "<value></value>"),
        ("a\rb\x00]]>", "<value>a&#13;b\ufffd]]&gt;</value>"),
    ],
)
def test_the_form_that_clients_demand(value, text):
    bare = f'<?xml version="1.0"?><methodResponse><params><param>{text}</param></params></methodResponse>'
    assert wire.encode_bare(value).decode() == bare
    assert text in wire.encode_success(value).decode()


def test_a_fault_is_the_standard_library_s():
    with pytest.raises(xmlrpc.client.Fault) as fault:
        xmlrpc.client.loads(wire.encode_fault(3, "a < b"))
    assert (fault.value.faultCode, fault.value.faultString) == (3, "a < b")


def test_what_has_no_type_is_an_error():
    with pytest.raises(TypeError, match="set"):
        wire.encode_success({"a": {1}})


def call(value):
    return f"<methodCall><methodName>a.b</methodName><params><param>{value}</param></params></methodCall>".encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<value>  x </value>", "  x "),
        ("<value><string> x</string></value>", " x"),
        ("<value/>", ""),
        ("<value> <i4> 5\n</i4> </value>", 5),
        ("<value><i8>-9223372036854775808</i8></value>", -(2**63)),
        ("<value><boolean>0</boolean></value>", False),
        ("<value><double>-1.5e3</double></value>", -1500.0),
        ("<value><double>.5</double></value>", 0.5),
        ("<value><nil/></value>", None),
        ("<value><dateTime.iso8601>20260101T00:00:00</dateTime.iso8601></value>", datetime(2026, 1, 1, tzinfo=UTC)),
        ("<value><dateTime.iso8601>2026-01-01T02:00:00+02:00</dateTime.iso8601></value>", datetime(2026, 1, 1, tzinfo=UTC)),
        ("<value><base64>eHg=\n</base64></value>", b"xx"),
        ("<value><![CDATA[<a>]]>&amp;&#65;</value>", "<a>&A"),
        ("<value><struct> <member> <name>a</name> <value>b</value> </member> </struct></value>", {"a": "b"}),
        ("<value><array> <data> <value>b</value> </data> </array></value>", ["b"]),
    ],
)
def test_the_forms_that_clients_send(text, value):
    got = wire.decode_call(call(text)).params[0]
    assert got == value
    assert type(got) is type(value)


def test_a_call_without_parameters():
    assert wire.decode_call(b"<methodCall><methodName> a.b </methodName></methodCall>") == ("a.b", [])
    assert wire.decode_call(b"<?xml version='1.0'?>\n<methodCall><methodName>a</methodName><params/></methodCall>\n") == ("a", [])


DTD = "<!DOCTYPE methodCall [<!ENTITY e 'x'>]>"
OK = call("<value>x</value>")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b'{"method": "a"}',
        b"<methodCall/>",
        b"<methodCall><methodName></methodName></methodCall>",
        b"<methodCall><methodName>a<b/></methodName></methodCall>",
        b"<methodCall><params/><methodName>a</methodName></methodCall>",
        b"<methodCall><methodName>a</methodName><methodName>a</methodName></methodCall>",
        b"<methodCall><methodName>a</methodName><params/><params/></methodCall>",
        b"<methodCall>x<methodName>a</methodName></methodCall>",
        b"<methodCall><methodName>a</methodName><params>x</params></methodCall>",
        b"<methodResponse><methodName>a</methodName></methodResponse>",
        b"<methodCall><methodName>a</methodName><params><value>a</value></params></methodCall>",
        OK[:-1],
        OK + OK,
        OK + b"x",
        DTD.encode() + OK,
        DTD.encode() + call("<value>&e;</value>"),
        (DTD + OK.decode()).encode("utf-16"),
        (DTD + OK.decode()).encode("utf-16-le"),
        (DTD + OK.decode()).encode("utf-16-be"),
        ("<?xml version='1.0' encoding='utf-7'?>" + DTD.replace("<", "+ADw-") + OK.decode()).encode(),
        (b"<?xml version='1.0' encoding='cp037'?>" + (DTD + OK.decode()).encode("cp037")),
        OK.decode().encode("utf-16"),
        call("<value>&e;</value>"),
        OK.replace(b"x<", b"\xff<"),
        OK.replace(b"x<", b"\x00<"),
        call("<value>&#1;</value>"),
        call(""),
        call("<value>a</value><value>b</value>"),
        call("<value>a<int>1</int></value>"),
        call("<value><int>1</int>a</value>"),
        call("<value><int>1</int><int>1</int></value>"),
        call("<value><string><b/></string></value>"),
        call("<value><int><b/></int></value>"),
        call("<value>]]></value>"),
        call("<value><int>1_0</int></value>"),
        call("<value><int>x</int></value>"),
        call("<value><int/></value>"),
        call("<value><int>\u0661</int></value>"),
        call(f"<value><int>{'9' * 5000}</int></value>"),
        call("<value><boolean>true</boolean></value>"),
        call("<value><double>1_0</double></value>"),
        call("<value><double>infinity</double></value>"),
        call("<value><nil>x</nil></value>"),
        call("<value><dateTime.iso8601>soon</dateTime.iso8601></value>"),
        call("<value><base64>a</base64></value>"),
        call("<value><base64>\u00e9</base64></value>"),
        call("<value><float>1</float></value>"),
        call("<value><array/></value>"),
        call("<value><array><data/><data/></array></value>"),
        call("<value><array><data>x</data></array></value>"),
        call("<value><array><data><int>1</int></data></array></value>"),
        call("<value><struct>x</struct></value>"),
        call("<value><struct><value>x</value></struct></value>"),
        call("<value><struct><member><name>a</name></member></struct></value>"),
        call("<value><struct><member><value>b</value><name>a</name></member></struct></value>"),
        call("<value><struct>" + 2 * "<member><name>a</name><value>b</value></member>" + "</struct></value>"),
        call("<value><array><data>" * 70 + "</data></array></value>" * 70),
        call("<value><array><data>" * 40_000 + "</data></array></value>" * 40_000),
    ],
)
def test_what_is_no_call_is_refused(body):
    with pytest.raises(Malformed):
        wire.decode_call(body)


@pytest.mark.parametrize("param", ["<param><value>x</value></param>", "<param><value/></param>", "<param a='1'><value b='2'/></param>"])
def test_a_call_has_parts_up_to_a_limit(param):
    text = "<methodCall><methodName>a</methodName><params>{}</params></methodCall>"
    most = (MOST_PARTS - text.count("<")) // (param.count("<") + param.count("="))
    assert len(wire.decode_call(text.format(param * most).encode()).params) == most
    with pytest.raises(Malformed, match="too many"):
        wire.decode_call(text.format(param * (most + 1)).encode())


def test_tags_that_only_open_are_refused_before_they_are_built():
    with pytest.raises(Malformed, match="too many"):
        wire.decode_call(b"<a>" * (MOST_PARTS + 1))


@given(st.binary(max_size=200))
def test_no_bytes_end_in_another_error(body):
    with pytest.raises(Malformed):
        wire.decode_call(body)


GAP = st.text(st.sampled_from(" \t\r\n"), max_size=2)
PIECE = st.text(st.sampled_from("ab<>&]\r\n\x0b\x00;'\"#ü "), max_size=3)
VALUE = st.one_of(
    PIECE.map("<value>{}</value>".format),
    PIECE.map("<value><string>{}</string></value>".format),
    st.tuples(GAP, PIECE, GAP).map(lambda t: f"<value>{t[0]}<string>{t[1]}</string>{t[2]}</value>"),
    st.just("<value/>"),
    st.just("<value><int>1</int></value>"),
)
PARAMS = st.lists(st.tuples(GAP, GAP, VALUE, GAP).map(lambda t: f"{t[0]}<param>{t[1]}{t[2]}{t[3]}</param>"), max_size=3).map("".join)
VERSION = "<?xml version='1.0'?>"
HEADER = st.sampled_from(["", "<?xml version='1.0'?>", '<?xml version="1.0" encoding="UTF-8" ?>', VERSION + "\x0b", "<?xml version='2.0'?>", DTD])


def check_short_cut(text):
    try:
        expected = wire.decode_tree(text.encode())
    except Malformed:
        with pytest.raises(Malformed):
            wire.decode_call(text.encode())
    else:
        assert wire.decode_call(text.encode()) == expected


@given(PARAMS)
def test_the_short_cut_reads_parameters_as_the_tree_does(params):
    check_short_cut(f"{VERSION}\n<methodCall><methodName>a.b</methodName><params>{params}</params></methodCall>")


@given(HEADER, GAP, st.sampled_from(["a.b", "", " a", "Async.VM.start", "a-b", "a&amp;"]), GAP, st.sampled_from(["", "", "x", "<a/>"]))
def test_the_short_cut_reads_what_is_around_them_as_the_tree_does(header, gap, name, end, rest):
    params = f"<params><param><value>x</value></param>{gap}</params>"
    check_short_cut(f"{header}{gap}<methodCall>{gap}<methodName>{name}</methodName>{gap}{params}{gap}</methodCall>{end}{rest}")


def test_the_short_cut_takes_linear_time():
    body = call("<value>x</value>").replace(b"<params>", b"<params>" + b"<param><value>x</value></param>" * 20_000 + b" " * 50_000)
    assert len(wire.decode_call(body).params) == 20_001
    with pytest.raises(Malformed):
        wire.decode_call(body.replace(b"</params>", b"<"))
