"""What a command line says: XenServer's own grammar, with the words that come from ~/.xe and XE_EXTRA_ARGS.

    xe COMMAND [name=value | map:key=value | --name]...  with the switches -s -p -u -pw -pwf --nossl anywhere

`--name` alone means name=true. Words of ~/.xe (one a line) count before those of XE_EXTRA_ARGS (separated by commas, a
backslash escapes one), which count before the command line's own; the last one wins. Filters are kept in full, so that
`tags:contains=a tags:contains=b` asks for both.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

SWITCHES = {"-s": "server", "-h": "server", "-p": "port", "-u": "username", "-pw": "password", "-pwf": "passwordfile"}
"""Switches that take the next word, and the parameter that they stand for."""
CONNECTION = ("server", "port", "username", "password", "passwordfile", "nossl", "debug", "debug-on-fail", "--progress")
"""Parameters that say how to reach the server; no command sees them."""
NEVER_FILTERS = frozenset(["server", "password", "port", "username", "minimal", "force", "multiple", "all", "message-priority", "trace"])
"""Parameters that no list or selector takes for a field, even where a field has that name."""
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "bytes": 1, "": 1}
_TRUE = frozenset(["true", "t", "yes", "y", "1"])
_FALSE = frozenset(["false", "f", "no", "n", "0"])


class Misuse(Exception):
    """A command line that makes no sense; its text says why. `xe` exits with status 1, as XenServer's does."""


class MissingParameter(Misuse):
    """A parameter that the command cannot do without."""


class Params:
    """The parameters of a command in the order in which they were given."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)
        self._last = dict(self.pairs)

    def get(self, name: str, default: str = "") -> str:
        return self._last.get(name, default)

    def require(self, name: str) -> str:
        """Raises MissingParameter."""
        if name not in self._last:
            raise MissingParameter(name)
        return self._last[name]

    def flag(self, name: str) -> bool:
        """A boolean parameter, false when absent. Raises Misuse for a text that is no boolean."""
        return boolean(name, self._last[name]) if name in self._last else False

    def map(self, name: str) -> dict[str, str]:
        """The `name:key=value` parameters."""
        prefix = f"{name}:"
        return {key.removeprefix(prefix): value for key, value in self._last.items() if key.startswith(prefix)}

    def __contains__(self, name: str) -> bool:
        return name in self._last


class CommandLine(NamedTuple):
    """A command, the bare words after it, its parameters, and how to reach the server."""

    command: str
    words: tuple[str, ...]
    params: Params
    connection: Params


def parse(arguments: Sequence[str], extra: str = "", rc: str = "") -> CommandLine:
    """The meaning of `arguments`, with the texts of XE_EXTRA_ARGS and ~/.xe. Raises Misuse."""
    pairs: list[tuple[str, str]] = [*rc_pairs(rc)]
    words: list[str] = []
    rest = iter([*split_extra(extra), *arguments])
    for word in rest:
        if word in SWITCHES:
            value = next(rest, None)
            if value is None:
                raise Misuse(f"{word} needs a value")
            pairs.append((SWITCHES[word], value))
        elif word == "--progress":  # a field of tasks has this name, so progress= is no switch
            pairs.append((word, "true"))
        elif word.startswith("--"):
            name, given, value = word[2:].partition("=")
            pairs.append((name, value if given else "true"))
        elif "=" in word:
            name, _, value = word.partition("=")
            pairs.append((name, value))
        else:
            words.append(word)
    connection = Params(pair for pair in pairs if pair[0] in CONNECTION)
    params = Params(pair for pair in pairs if pair[0] not in CONNECTION)
    return CommandLine(words[0] if words else "", tuple(words[1:]), params, connection)


def split_extra(text: str) -> list[str]:
    """The words of XE_EXTRA_ARGS: separated by commas; a backslash takes the next character as it is."""
    words, word, escaped = [], "", False
    for char in text:
        if escaped or char not in ",\\":
            word, escaped = word + char, False
        elif char == "\\":
            escaped = True
        else:
            words.append(word)
            word = ""
    return [word for word in [*words, word] if word]


def rc_pairs(text: str) -> list[tuple[str, str]]:
    """The connection parameters of a ~/.xe file; its other lines mean nothing to `xe`."""
    pairs = [line.strip().partition("=") for line in text.splitlines()]
    return [(name.strip(), value.strip()) for name, given, value in pairs if given and name.strip() in CONNECTION]


def boolean(name: str, text: str) -> bool:
    """true, t, yes, y, 1 and false, f, no, n, 0 in any case. Raises Misuse."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Misuse(f"Failed to parse parameter '{name}': expected 'true' or 'false', got '{text}'")


def integer(name: str, text: str) -> int:
    """A decimal number. Raises Misuse."""
    try:
        return int(text)
    except ValueError:
        raise Misuse(f"Failed to parse parameter '{name}': expected an integer, got '{text}'") from None


def size(name: str, text: str) -> int:
    """Bytes, with XenServer's units: 1GiB, 512 MiB, 1073741824. Raises Misuse."""
    for unit, factor in UNITS.items():
        number = text.removesuffix(unit).rstrip()
        if text.endswith(unit) and number.isdecimal():
            return int(number) * factor
    raise Misuse(f"Failed to parse parameter '{name}': expected a number of bytes such as 1073741824 or 1GiB, got '{text}'")


def one_of(values: Sequence[str], text: str) -> str:
    """The value that equals the text in any case. Raises Misuse."""
    for value in values:
        if value.lower() == text.lower():
            return value
    raise Misuse(f"Expected one of {', '.join(repr(value) for value in values)}, got {text}")


def listed(text: str) -> list[str]:
    """The elements of a comma separated text."""
    return [item.strip() for item in text.split(",") if item.strip()]
