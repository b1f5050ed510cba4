"""Which server `xe` talks to, and as whom."""

from collections.abc import Mapping
from typing import NamedTuple

from xenet.cli.xe.grammar import Misuse, Params, integer
from xenet.client import Client

SOCKET = "/var/lib/xcp/xapi"
"""Where XenServer's own server listens for local clients."""
ORIGINATOR = "cli"


class Server(NamedTuple):
    """Where to connect and how to log in. `password` is None when nobody gave one."""

    address: str
    user: str
    password: str | None

    @property
    def is_local(self) -> bool:
        return "://" not in self.address


def server_of(connection: Params, environ: Mapping[str, str]) -> Server:
    """The server that a command line names; else XENET_SOCKET, else XENET_URL, else XenServer's local socket.

    The socket comes first, since it needs no password. TLS is the rule over TCP, except on port 80 or with --nossl.
    Raises Misuse.
    """
    user, password = _credentials(connection, environ)
    if server := connection.get("server"):
        port = integer("port", connection.get("port")) if "port" in connection else 0
        return Server(url_of(server, port, plain=connection.flag("nossl")), user, password)
    if not environ.get("XENET_SOCKET") and environ.get("XENET_URL"):
        return Server(environ["XENET_URL"], user, password)
    return Server(environ.get("XENET_SOCKET") or SOCKET, user, password)


def url_of(server: str, port: int = 0, *, plain: bool = False) -> str:
    """A server's URL, which may be given as such; port 0: the usual one."""
    if "://" in server:
        return server
    plain = plain or port == 80
    host = f"[{server}]" if ":" in server and not server.startswith("[") else server
    return f"{'http' if plain else 'https'}://{host}:{port or (80 if plain else 443)}"


def _credentials(connection: Params, environ: Mapping[str, str]) -> tuple[str, str | None]:
    user = connection.get("username", environ.get("XENET_USER", "root"))
    if "passwordfile" not in connection:
        return user, connection.get("password") if "password" in connection else environ.get("XENET_PASSWORD")
    path = connection.get("passwordfile")
    try:
        with open(path, encoding="utf-8") as file:
            first, second = file.read().splitlines()[:2]
    except (OSError, ValueError):
        raise Misuse(f"{path}: expected a user name in the first line and a password in the second") from None
    return first, second


def ask_password(server: Server) -> str:
    """The password that somebody at a terminal types."""
    from getpass import getpass

    return getpass(f"Password for {server.user} at {server.address}: ")


def open_session(server: Server, password: str, *, local: bool) -> Client:
    """A client with a session; `local` asks for one of the host itself. Raises Misuse for an address, Failure, Unreachable."""
    try:
        client = Client.connect(server.address)
    except ValueError as error:
        raise Misuse(str(error)) from None
    try:
        if local:
            client.session = str(client.raw("session.slave_local_login_with_password", server.user, password))
            return client
        return client.login(server.user, password, ORIGINATOR)
    except BaseException:
        client.close()
        raise
