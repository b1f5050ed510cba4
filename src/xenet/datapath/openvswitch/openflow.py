"""Frames that ovs-vswitchd shall treat as though they had come in by a port: OpenFlow's packet-out, from the port, by the action NORMAL.

With it the switch learns the source at that port, tags the frame by the port's VLAN and picks the bond's link by its own rules, all but what
flows say: those are not asked. Source: OpenFlow 1.4, 7.1 and 7.3.7; ovs-actions(7).
"""

import socket
from collections.abc import Sequence
from pathlib import Path
from struct import Struct

from xenet.datapath.openvswitch.control import connect

PATIENCE_S = 1.0
_VERSION = 5
"""OpenFlow 1.4. Older ones back to 1.1 have the same packet-out."""
_OLDEST = 2
_HELLO, _ERROR, _PACKET_OUT, _BARRIER, _BARRIER_REPLY = 0, 1, 13, 20, 21
_NO_BUFFER, _NORMAL, _OUTPUT = 0xFFFFFFFF, 0xFFFFFFFA, 0
_HEADER = Struct("!BBHI")
_OUT = Struct("!IIH6x")
_ACTION = Struct("!HHIH6x")


def send_from(management: Path, port: int, frames: Sequence[bytes]) -> None:
    """From the port with this number of the bridge that answers at this socket; done when this returns. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(PATIENCE_S)
        connect(wire, management)
        version = _greet(wire)
        wire.sendall(b"".join(_message(version, _PACKET_OUT, _packet_out(port, frame)) for frame in frames) + _message(version, _BARRIER))
        kind = -1
        while kind != _BARRIER_REPLY:
            _, kind, body = _receive(wire)
            if kind == _ERROR:
                raise OSError(f"ovs-vswitchd takes no frame from port {port}: OpenFlow error {body[:4].hex()}")


def _greet(wire: socket.socket) -> int:
    """The version that both speak."""
    wire.sendall(_message(_VERSION, _HELLO))
    version, kind, _ = _receive(wire)
    if kind != _HELLO or version < _OLDEST:
        raise OSError("ovs-vswitchd speaks no OpenFlow that has what is needed (1.1 to 1.4)")
    return min(version, _VERSION)


def _message(version: int, kind: int, body: bytes = b"") -> bytes:
    return _HEADER.pack(version, kind, _HEADER.size + len(body), 0) + body


def _packet_out(port: int, frame: bytes) -> bytes:
    return _OUT.pack(_NO_BUFFER, port, _ACTION.size) + _ACTION.pack(_OUTPUT, _ACTION.size, _NORMAL, 0) + frame


def _receive(wire: socket.socket) -> tuple[int, int, bytes]:
    """Version, type and body of the next message."""
    version, kind, size, _ = _HEADER.unpack(_exactly(wire, _HEADER.size))
    return version, kind, _exactly(wire, max(size - _HEADER.size, 0))


def _exactly(wire: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = wire.recv(count - len(data))
        if not part:
            raise OSError("ovs-vswitchd closed its OpenFlow socket")
        data += part
    return data
