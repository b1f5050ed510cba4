"""The grammar of xe's command line, by example and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenet.cli.xe.grammar import CONNECTION, Misuse, boolean, integer, listed, one_of, parse, split_extra

NAMES = st.text("abcxyz-_:", min_size=1).filter(lambda name: name not in CONNECTION and not name.startswith("-"))
VALUES = st.text()


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_every_pair_arrives_whole_and_in_order(pairs: list[tuple[str, str]]) -> None:
    line = parse(["vm-list", *(f"{name}={value}" for name, value in pairs)])
    assert line.command == "vm-list"
    assert line.params.pairs == tuple(pairs)
    for name, value in dict(pairs).items():
        assert line.params.get(name) == value


@given(st.lists(st.text(min_size=1)))
def test_extra_arguments_escape_what_they_like(words: list[str]) -> None:
    text = ",".join(word.replace("\\", "\\\\").replace(",", "\\,") for word in words)
    assert split_extra(text) == words


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.data())
def test_switches_may_stand_anywhere(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    words = ["vif-list", *(f"{name}={value}" for name, value in pairs)]
    for switch in (["-s", "h=1"], ["-u", "root"], ["-pw", "-s"], ["--nossl"], ["--minimal"]):
        place = data.draw(st.integers(0, len(words)))
        while place < len(words) and place > 0 and words[place - 1] in ("-s", "-u", "-pw"):
            place += 1
        words[place:place] = switch
    line = parse(words)
    known = {name: line.connection.get(name) for name in ("server", "username", "password", "nossl")}
    assert known == {"server": "h=1", "username": "root", "password": "-s", "nossl": "true"}
    assert line.command == "vif-list"
    assert sorted(line.params.pairs) == sorted([*pairs, ("minimal", "true")])


def test_the_command_line_counts_last() -> None:
    line = parse(
        ["vm-list", "server=three", "minimal=false"], extra="server=two,--minimal,-u,joe", rc="server=one\n password = secret\n# no\nparams=all\n"
    )
    assert line.connection.get("server") == "three"
    assert line.connection.get("username") == "joe"
    assert line.connection.get("password") == "secret"
    assert not line.params.flag("minimal")
    assert "params" not in line.params


def test_switches_as_they_come() -> None:
    line = parse(["-h", "h", "-p", "8443", "-pwf", "f", "help", "vm-start", "--force", "--live=no", "a:b=c=d", "e=/=f"])
    assert (line.command, line.words) == ("help", ("vm-start",))
    assert line.connection.pairs == (("server", "h"), ("port", "8443"), ("passwordfile", "f"))
    assert line.params.pairs == (("force", "true"), ("live", "no"), ("a:b", "c=d"), ("e", "/=f"))
    assert line.params.map("a") == {"b": "c=d"}


@pytest.mark.parametrize("words", [["-s"], ["vm-list", "-pw"], ["-u", "root", "-p"]])
def test_a_switch_without_its_value(words: list[str]) -> None:
    with pytest.raises(Misuse, match="needs a value"):
        parse(words)


def test_values() -> None:
    for text in ("true", "T", "yes", "Y", "1"):
        assert boolean("x", text) is True
    for text in ("false", "F", "NO", "n", "0"):
        assert boolean("x", text) is False
    with pytest.raises(Misuse, match=r"'x'.*perhaps"):
        boolean("x", "perhaps")
    assert integer("x", "-12") == -12
    with pytest.raises(Misuse, match="integer"):
        integer("x", "1.5")
    assert one_of(("None", "DHCP"), "dhcp") == "DHCP"
    with pytest.raises(Misuse, match="Expected one of 'None', 'DHCP', got x"):
        one_of(("None", "DHCP"), "x")
    assert listed("a, b,,c") == ["a", "b", "c"]
