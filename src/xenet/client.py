"""A small XenAPI client: JSON-RPC 2.0 over http, https or a Unix socket.

`xe` and the lab talk to a server through it, as any outside client would, so it knows no room of the server
but the errors. It keeps one connection open and sends each request with one write and TCP_NODELAY: headers
and body in two writes cost about 40 ms a call (Nagle's algorithm waiting for a delayed acknowledgement).

HTTP is spoken here directly: http.client writes head and body apart, and importing it takes longer than a
whole `xe` command does.
"""

import json
import re
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from xenet.model.errors import Failure

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection."""
CALL_TIMEOUT = 600.0
"""Seconds to wait for an answer: a reconfigured management interface may take 300 (XenServer's own limit)."""
ORIGINATOR = "xenet"
_PORTS = {"http": 80, "https": 443}
_REFERENCE = re.compile(r"OpaqueRef:[0-9A-Za-z-]+")
_NULL = "OpaqueRef:NULL"
_LIKELY = ("VM", "host", "PIF", "VIF", "network", "Bond", "VLAN", "tunnel", "pool", "task")
"""The classes of which a reference may be that comes without one, those first that errors speak of most."""
_NOT_OF_IT = ("HANDLE_INVALID", "MESSAGE_METHOD_UNKNOWN")
"""What a reference is answered with that is none of the class, or where the server shows no objects of the class."""


class Unreachable(ConnectionError):
    """The server cannot be reached, broke off or answered something that is not JSON-RPC; whether the call took effect is unknown."""


class Client:
    """One connection and at most one session; not to be shared between threads.

    Use it as a context manager: leaving it logs out and closes the connection.
    """

    def __init__(self, address: str, *, verify: bool = False, timeout: float = CALL_TIMEOUT) -> None:
        self.address = address
        self.session = ""
        """The session's reference; a secret. Empty before `login`."""
        self._verify = verify
        self._timeout = timeout
        self._next_id = 0
        self._scheme, self._host, self._port = _parse(address)
        self._socket: socket.socket | None = None
        self._buffer = b""

    @classmethod
    def connect(cls, address: str, *, verify: bool = False, timeout: float = CALL_TIMEOUT) -> Self:
        """A client connected to a URL (http://HOST:PORT, https://...) or a Unix socket's path.

        `verify` checks the server's certificate against the system's authorities; XenServer's are self-signed, so the
        default is not to. `timeout` is in seconds, a call. Raises Unreachable, ValueError for another kind of URL.
        """
        client = cls(address, verify=verify, timeout=timeout)
        client._open()
        return client

    def login(self, user: str = "root", password: str = "", originator: str = ORIGINATOR) -> Self:
        """Start a session; over a Unix socket root needs no password. Raises Failure (SESSION_AUTHENTICATION_FAILED, HOST_IS_SLAVE)."""
        self.session = str(self.raw("session.login_with_password", user, password, "1.0", originator))
        return self

    def call(self, method: str, *params: Any) -> Any:
        """Call a message such as `VIF.plug` in the session. Raises Failure for what the server refuses, Unreachable."""
        return self.raw(method, self.session, *params)

    def raw(self, method: str, *params: Any) -> Any:
        """Call a message without adding the session. Raises Failure, Unreachable."""
        self._next_id += 1
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": self._next_id}
        return self._result(self._exchange(json.dumps(request, separators=(",", ":")).encode()))

    def close(self) -> None:
        """Log out, unless the connection is broken, and close it."""
        if self.session and self._socket is not None:
            # A session that is gone already, or cannot be told, ends by itself when it has been idle for a day.
            with suppress(Failure, Unreachable):
                self.call("session.logout")
        self.session = ""
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- JSON-RPC -----------------------------------------------------------------------------------

    def _result(self, body: bytes) -> Any:
        try:
            answer = json.loads(body)
            error = answer.get("error")
            if error is None:
                return answer["result"]
            failure = Failure(error["message"], *(str(param) for param in error.get("data", ())))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._drop()
            raise self._unreachable(f"answered what is not JSON-RPC: {body[:80]!r}") from None
        raise failure

    # --- HTTP ---------------------------------------------------------------------------------------

    def _exchange(self, body: bytes) -> bytes:
        """One request and its answer. A connection that fails in between is dropped, so that no late answer is taken for another's."""
        head = f"POST /jsonrpc HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            sock = self._ready_socket()
            sock.sendall(head.encode() + body)
            return self._read_answer()
        except BaseException as error:
            self._drop()
            if isinstance(error, (OSError, ValueError)) and not isinstance(error, Unreachable):
                raise self._unreachable(str(error)) from error
            raise

    def _read_answer(self) -> bytes:
        status = self._line().split(None, 2)
        if len(status) < 2:
            raise self._unreachable("answered what is not HTTP")
        headers: dict[bytes, bytes] = {}
        while line := self._line():
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
        body = self._body(headers)
        if headers.get(b"connection") == b"close" or status[0] == b"HTTP/1.0":
            self._drop()
        if status[1] != b"200":
            raise self._unreachable(f"answered {b' '.join(status).decode('latin-1')}")
        return body

    def _body(self, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding") == b"chunked":
            return self._chunks()
        if b"content-length" in headers:
            return self._take(int(headers[b"content-length"]))
        return self._rest()

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._line().split(b";")[0], 16):
            parts.append(self._take(size))
            self._line()
        while self._line():
            pass  # trailers
        return b"".join(parts)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._more()
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line.rstrip(b"\r")

    def _take(self, size: int) -> bytes:
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            self._buffer = b""
            self._more()
            parts.append(self._buffer)
            have += len(self._buffer)
        whole = b"".join(parts)
        self._buffer = whole[size:]
        return whole[:size]

    def _rest(self) -> bytes:
        parts = [self._buffer]
        while part := self._connected().recv(65536):
            parts.append(part)
        self._drop()
        return b"".join(parts)

    def _more(self) -> None:
        part = self._connected().recv(65536)
        if not part:
            raise self._unreachable("closed the connection without an answer")
        self._buffer += part

    # --- the connection -----------------------------------------------------------------------------

    def _ready_socket(self) -> socket.socket:
        """The open connection, or a new one when the server has closed it meanwhile.

        It is looked at before the request is sent: repeating a request that may have been carried out is not safe.
        """
        if self._socket is not None and select.select([self._socket], [], [], 0)[0] and self._is_over(self._socket):
            self._drop()
        if self._socket is None:
            self._open()
        return self._connected()

    def _is_over(self, sock: socket.socket) -> bool:
        """Whether what can be read where no answer is due is the end, or nothing that TLS would show: it says its own after a handshake."""
        sock.setblocking(False)
        try:
            sock.recv(1)
        except BlockingIOError:
            return False
        except OSError as error:
            return type(error).__name__ != "SSLWantReadError"
        finally:
            sock.settimeout(self._timeout)
        return True

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise self._unreachable("not connected")
        return self._socket

    def _open(self) -> None:
        try:
            sock = self._open_unix() if self._scheme == "unix" else self._open_tcp()
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        sock.settimeout(self._timeout)
        self._socket, self._buffer = sock, b""

    def _open_unix(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect(self.address)
        except OSError:
            sock.close()
            raise
        return sock

    def _open_tcp(self) -> socket.socket:
        sock = socket.create_connection((self._host.strip("[]"), self._port), CONNECT_TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._scheme == "http":
            return sock
        try:
            return self._wrapped(sock)
        except OSError:
            sock.close()
            raise

    def _wrapped(self, sock: socket.socket) -> socket.socket:
        import ssl  # 15 ms that commands on the local socket need not pay

        context = ssl.create_default_context()
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(sock, server_hostname=self._host.strip("[]"))

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def _unreachable(self, what: str) -> Unreachable:
        return Unreachable(f"{self.address}: {what}")


def _parse(address: str) -> tuple[str, str, int]:
    """(scheme, host, port) of an address; a path is a Unix socket."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return "unix", "localhost", 0
    if scheme not in _PORTS:
        raise ValueError(f"{address}: not a http or https URL")
    authority = rest.partition("/")[0].rpartition("@")[2]
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return scheme, authority, _PORTS[scheme]
    return scheme, host, int(port)


# --- references, for people -------------------------------------------------------------------------


def named(text: str, call: Callable[..., Any], cls: str = "") -> str:
    """The text with each reference in it as `uuid (name)`, as XenServer's xe shows them; `call` asks for their records in a session.

    `cls` is the class that a text which is nothing but a reference should be of; it is asked first. What cannot be found out, such as
    the name of an object that is gone, stays as it is.
    """
    first = (cls,) if cls and _REFERENCE.fullmatch(text) else ()
    return _REFERENCE.sub(lambda found: _named(found[0], call, dict.fromkeys((*first, *_LIKELY))), text)


def _named(ref: str, call: Callable[..., Any], classes: Iterable[str]) -> str:
    if ref == _NULL:
        return ref
    for cls in classes:
        try:
            record = call(f"{cls}.get_record", ref)
        except Unreachable:
            break
        except Failure as failure:
            if failure.code in _NOT_OF_IT:
                continue
            break
        name = record.get("name_label") or record.get("device")
        return f"{record['uuid']} ({name})" if name else str(record["uuid"])
    return ref
