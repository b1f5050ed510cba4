"""JSON-RPC as Xen Orchestra's and XO Lite's libraries read it: what they would choke on fails here, at the call that answered so."""

import http.client
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

DATE = re.compile(r"[0-9]{8}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
REF = re.compile(r"OpaqueRef:([0-9a-f-]{36}|NULL)")
DASHED_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")


class Refused(Exception):
    """[code, *params]"""

    @property
    def description(self) -> list[str]:
        return list(self.args)


class Strict:
    """A logged in client over one connection."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        self._ids = itertools.count()
        self.session = ""

    def close(self) -> None:
        self.connection.close()

    def raw(self, method: str, *params: Any) -> Any:
        number = next(self._ids)
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": number})
        self.connection.request("POST", "/jsonrpc", body, {"Content-Type": "application/json; charset=utf-8"})
        answer = self.connection.getresponse()
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        said = json.loads(answer.read())
        assert (said["jsonrpc"], said["id"], type(said["id"])) == ("2.0", number, int)
        if "error" in said:
            assert "result" not in said
            assert type(said["error"]["code"]) is int
            raise Refused(said["error"]["message"], *said["error"]["data"])
        check(said["result"])
        return said["result"]

    def login(self, *more: str) -> "Strict":
        self.session = self.raw("session.login_with_password", "root", *more)
        return self

    def __call__(self, method: str, *params: Any) -> Any:
        return self.raw(method, self.session, *params)

    def get(self, path: str) -> tuple[int, str, bytes]:
        """Status, type and body of a GET."""
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        return answer.status, answer.headers["content-type"], answer.read()

    def do(self, method: str, *params: Any) -> Any:
        """As a task, which is awaited by its events and then destroyed: what npm's callAsync does. Its result, or Refused."""
        return self.finish(self(f"Async.{method}", *params))

    def finish(self, task: str) -> Any:
        token = ""
        while True:
            batch = self("event.from", [f"task/{task}"], token, 20.1)
            token = batch["token"]
            for event in batch["events"]:
                found = event["snapshot"]
                if found["status"] in ("success", "failure", "cancelled"):
                    self("task.destroy", task)
                    if found["status"] != "success":
                        raise Refused(*found["error_info"])
                    return found["result"].removeprefix("<value>").removesuffix("</value>")
            assert batch["events"], "the task did not end"


def check(value: Any) -> None:
    """No null anywhere, and no date that Xen Orchestra's parser does not read."""
    assert value is not None
    if isinstance(value, dict):
        for name, item in value.items():
            assert isinstance(name, str)
            check(item)
    elif isinstance(value, list):
        for item in value:
            check(item)
    elif isinstance(value, str):
        assert not DASHED_DATE.match(value)


def shapes(records: dict[str, dict[str, Any]]) -> Iterator[dict[str, str]]:
    """For each record: what each field holds, as npm's library learns it from the first record of a class."""
    for record in records.values():
        yield {name: _shape(item) for name, item in record.items()}


def _shape(item: Any) -> str:
    if isinstance(item, str):
        return "reference" if item.startswith("OpaqueRef:") else "text"
    return {list: "list", dict: "map", bool: "bool", int: "number", float: "number"}[type(item)]
