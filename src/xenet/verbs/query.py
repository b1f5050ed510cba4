"""The expressions of get_all_where: `field "name__label" = "value"` joined by and, or, not and parentheses."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from xenet.model.errors import Failure

Predicate = Callable[[Mapping[str, Any]], bool]
DEEPEST = 50
"""How many nots and parentheses may stand within each other."""
_TOKEN = re.compile(r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[a-z]+)|(?P<sign>[()=]))')


def matcher(expr: str) -> Predicate:
    """The predicate that an expression means. Raises INVALID_VALUE ["expr", text] for one that means nothing."""
    parser = _Parser(expr)
    predicate = parser.either()
    if parser.tokens:
        raise parser.bad()
    return predicate


def stored_text(value: Any) -> str:
    """A value as XenServer's database holds it: booleans in words, sets and maps in parentheses, strings as they are."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.strftime("%Y%m%dT%H:%M:%SZ")
        case str():
            return value
        case Mapping():
            return "(" + " ".join(f"('{k}' '{stored_text(v)}')" for k, v in value.items()) + ")"
        case Iterable():
            return "(" + " ".join(f"'{stored_text(v)}'" for v in value) + ")"
        case _:
            return str(value)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: deque[str] = deque()
        self.depth = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None:
                raise self.bad()
            self.tokens.append(found.group().strip())
            at = found.end()

    def bad(self) -> Failure:
        return Failure("INVALID_VALUE", "expr", self.text)

    def take(self, *expected: str) -> str:
        if not self.tokens or (expected and self.tokens[0] not in expected):
            raise self.bad()
        return self.tokens.popleft()

    def takes(self, word: str) -> bool:
        """Take the next token if it is this word."""
        if not self.tokens or self.tokens[0] != word:
            return False
        self.tokens.popleft()
        return True

    def string(self) -> str:
        token = self.take()
        if not token.startswith('"'):
            raise self.bad()
        return re.sub(r"\\(.)", r"\1", token[1:-1])

    def either(self) -> Predicate:
        sides = [self.both()]
        while self.takes("or"):
            sides.append(self.both())
        return lambda record: any(side(record) for side in sides)

    def both(self) -> Predicate:
        sides = [self.one()]
        while self.takes("and"):
            sides.append(self.one())
        return lambda record: all(side(record) for side in sides)

    def one(self) -> Predicate:
        match self.take("not", "(", "true", "false", "field"):
            case "not":
                inner = self.within(self.one)
                return lambda record: not inner(record)
            case "(":
                inner = self.within(self.either)
                self.take(")")
                return inner
            case "true":
                return lambda record: True
            case "false":
                return lambda record: False
            case _:
                return self.comparison()

    def within(self, part: Callable[[], Predicate]) -> Predicate:
        if self.depth == DEEPEST:
            raise self.bad()
        self.depth += 1
        inner = part()
        self.depth -= 1
        return inner

    def comparison(self) -> Predicate:
        name = self.string().replace("__", "_")
        self.take("=")
        wanted = self.string()
        return lambda record: name in record and stored_text(record[name]) == wanted
