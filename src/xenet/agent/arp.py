"""Whether a gateway is there: asked by ARP (RFC 826) on the device and from the address that shall reach it, whatever else the host has."""

import socket
import struct
import time

PATIENCE = 10.0
"""Seconds in which the gateway must answer after the way to it has changed."""
ETH_P_ARP = 0x0806
ARP_REPLY = 2


def gateway_answers(device: str, mac: str, address: str, gateway: str, seconds: float = PATIENCE) -> bool:
    """Whether the gateway answers an ARP request (RFC 826) from this device and address within the time."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as wire:
        wire.bind((device, ETH_P_ARP))
        wire.settimeout(0.2)
        request = _arp_request(bytes.fromhex(mac.replace(":", "")), socket.inet_aton(address), socket.inet_aton(gateway))
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            wire.send(request)
            if _heard(wire, socket.inet_aton(gateway)):
                return True
    return False


def _arp_request(mac: bytes, source: bytes, target: bytes) -> bytes:
    header = b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + source + bytes(6) + target


def _heard(wire: socket.socket, gateway: bytes) -> bool:
    try:
        while True:
            frame = wire.recv(2048)
            if frame[20:22] == struct.pack("!H", ARP_REPLY) and frame[28:32] == gateway:
                return True
    except TimeoutError:
        return False
