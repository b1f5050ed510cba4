"""Numbered echo requests (RFC 792) from a place to a guest, so many a second, and which were answered when. A guest answers each by its own kernel,
so an answer says that the request reached it, and that the guest can be heard.

They go by the place's own network stack, or as frames with a VLAN's tag, for a place whose kernel knows no VLANs.
"""

import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

ADDRESS = "10.0.0.2"
"""Of the guest, where nothing else is said."""
_ECHO = struct.Struct("!BBHHH")
_NUMBER = struct.Struct("!I")
_OURS = b"\x7e\x48"
_REQUEST, _ANSWER = 8, 0
_ALL, _ARP, _IPV4 = 3, b"\x08\x06", b"\x08\x00"
_TAG = b"\x81\x00"
_CATCH_UP = 10
"""Requests that may be late and are sent all the same: the rate is what was asked for after a short stall, too."""
HEARD_WITHIN = 0.3
"""Seconds after the last request in which its answer counts."""


class Way(Protocol):
    """By which requests go and answers come: both as ICMP messages."""

    def send(self, message: bytes) -> None: ...

    def receive(self) -> bytes:
        """Empty: something else has come. Raises TimeoutError."""

    def close(self) -> None: ...


class Plain:
    """By the place's own stack, from an address of its own."""

    def __init__(self, place: Any, address: str = ADDRESS) -> None:
        self._address = address
        self._socket: socket.socket = place(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.settimeout(HEARD_WITHIN)

    def send(self, message: bytes) -> None:
        self._socket.sendto(message, (self._address, 0))

    def receive(self) -> bytes:
        return self._socket.recv(2048)[20:]

    def close(self) -> None:
        self._socket.close()


class Tagged:
    """By frames with a VLAN's tag from the place's eth0, as if `source` were an address of that; whoever asks whose it is, is told."""

    def __init__(self, place: Any, tag: int, source: str, mac: str, address: str) -> None:
        self._socket: socket.socket = place(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.settimeout(HEARD_WITHIN)
        place(self._socket.bind, ("eth0", _ALL))
        self._own: bytes = self._socket.getsockname()[4]
        self._far = bytes.fromhex(mac.replace(":", ""))
        self._tag = _TAG + struct.pack("!H", tag)
        self._source, self._address = socket.inet_aton(source), socket.inet_aton(address)
        self._put(b"\xff" * 6, _ARP, self._arp(1, bytes(6), self._address))  # the guest learns by it whom it answers

    def send(self, message: bytes) -> None:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, 64, socket.IPPROTO_ICMP, 0) + self._source + self._address
        self._put(self._far, _IPV4, head[:10] + struct.pack("!H", checksum(head)) + head[12:] + message)

    def receive(self) -> bytes:
        frame, source = self._socket.recvfrom(2048)
        if source[2] == socket.PACKET_OUTGOING:
            return b""
        kind, body = (frame[16:18], frame[18:]) if frame[12:14] == _TAG else (frame[12:14], frame[14:])
        if kind == _ARP and body[7] == 1 and body[24:28] == self._source:
            self._put(body[8:14], _ARP, self._arp(2, body[8:14], body[14:18]))
        return body[20:] if kind == _IPV4 and body[12:16] == self._address and body[16:20] == self._source else b""

    def _put(self, to: bytes, kind: bytes, body: bytes) -> None:
        with suppress(BlockingIOError):
            self._socket.send(to + self._own + self._tag + kind + body)

    def _arp(self, operation: int, mac: bytes, address: bytes) -> bytes:
        return struct.pack("!HHBBH", 1, 0x800, 6, 4, operation) + self._own + self._source + mac + address

    def close(self) -> None:
        self._socket.close()


class Outage(NamedTuple):
    """From the first that was lost to the one after the last that was lost, by time.perf_counter; and how many were."""

    begin: float
    end: float
    lost: int

    def ms(self) -> float:
        return (self.end - self.begin) * 1000


class Echoes:
    """When each was sent, and which was answered, and when."""

    def __init__(self, way: Way, rate: int) -> None:
        self._way = way
        self._pause = 1 / rate
        self._stop, self._end = threading.Event(), math.inf
        self.threads = [threading.Thread(target=self._send), threading.Thread(target=self._receive)]
        self.sent: list[float] = []
        self.answered: list[int] = []
        self.heard: list[float] = []

    def _send(self) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            body = _NUMBER.pack(len(self.sent)) + bytes(20)
            head = _ECHO.pack(_REQUEST, 0, 0, 0x7E48, 0)
            self.sent.append(time.perf_counter())
            self._way.send(_ECHO.pack(_REQUEST, 0, checksum(head + body), 0x7E48, 0) + body)
            due = max(due + self._pause, time.perf_counter() - _CATCH_UP * self._pause)
            time.sleep(max(due - time.perf_counter(), 0))

    def _receive(self) -> None:
        while time.perf_counter() < self._end:
            with suppress(TimeoutError):
                message = self._way.receive()
                if message[:1] == bytes([_ANSWER]) and message[4:6] == _OURS:
                    self.heard.append(time.perf_counter())
                    self.answered.append(_NUMBER.unpack_from(message, 8)[0])

    def stop(self) -> None:
        self._stop.set()
        self._end = time.perf_counter() + HEARD_WITHIN
        for thread in self.threads:
            thread.join()

    def lost(self) -> list[int]:
        answered = set(self.answered)
        return [number for number in range(len(self.sent)) if number not in answered]

    def gap(self) -> float:
        """From the first that was lost to the one after the last that was lost, in ms."""
        lost = self.lost()
        return (self.sent[min(lost[-1] + 1, len(self.sent) - 1)] - self.sent[lost[0]]) * 1000 if lost else 0.0

    def outages(self, apart: float) -> list[Outage]:
        """Losses with no answer between them are one, and such as were sent less than `apart` seconds after one another."""
        times: list[list[int]] = []
        for number in self.lost():
            if times and (number == times[-1][-1] + 1 or self.sent[number] - self.sent[times[-1][-1]] < apart):
                times[-1].append(number)
            else:
                times.append([number])
        return [Outage(self.sent[lost[0]], self.sent[min(lost[-1] + 1, len(self.sent) - 1)], len(lost)) for lost in times]

    def silence(self) -> float:
        """The longest time between two answers, in ms."""
        return max((later - earlier for earlier, later in pairwise(self.heard)), default=0.0) * 1000

    def duplicated(self) -> int:
        return len(self.answered) - len(set(self.answered))


@contextmanager
def echoes(place: Any, rate: int = 200, way: Callable[[Any], Way] = Plain) -> Iterator[Echoes]:
    """From this place while the block lasts, and a moment before and after."""
    by = way(place)
    made = Echoes(by, rate)
    try:
        for thread in made.threads:
            thread.start()
        time.sleep(0.2)
        yield made
        time.sleep(0.3)
    finally:
        made.stop()
        by.close()


def checksum(data: bytes) -> int:
    """RFC 1071's; `data` has an even length."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
