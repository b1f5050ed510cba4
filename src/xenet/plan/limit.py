"""The rate limit of a VIF: what its record asks for, and how large the bucket and the queue are that hold a guest to it.

The limit is a token bucket behind the port (an ifb with a tbf), on what the guest sends, Ethernet headers included: tbf(8) counts
whole frames there, and those of a segmentation offload as the wire would have them, so the rate needs no correction.
"""

from xenet.model.vif import VIF

_KILO = 1024
_SLICE_US, _SLICES = 50_000, 1_000_000
_MOST = 0xFFFF_FFFF
_FRAME = 14 + 4
"""An Ethernet header and one VLAN tag."""
_BURST_PER_S, _QUEUE_PER_S = 100, 40
_BURST_FRAMES, _QUEUE_FRAMES = 3, 12


def rate_of(vif: VIF) -> int:
    """Bytes a second that the guest may send, 0 where nothing limits it.

    As XenServer reads it: `kbps` is in kilobytes of 1,024 bytes; what is no number, is zero, or does not fit its backend's 32 bits of
    bytes per 50 ms is no limit; nor is any other algorithm.
    """
    kbps = vif.qos_algorithm_params.get("kbps", "")
    if vif.qos_algorithm_type != "ratelimit" or not (kbps.isascii() and kbps.isdecimal() and len(kbps) < 20):
        return 0
    rate = int(kbps) * _KILO
    return rate if rate * _SLICE_US // _SLICES < _MOST else 0


def burst_of(rate: int, mtu: int) -> int:
    """Bytes that may pass at once: those of 10 ms, or three frames where that is more.

    A timer comes late by a tick (10 ms at HZ=100 without high resolution, less elsewhere) or when the machine is busy: what the bucket
    cannot hold of that time is lost to the guest. In ten seconds it adds 0.1 %, three frames 0.5 % at 100 kB/s. A bucket smaller than a
    frame would let none pass; one larger than 64 kB (from 6.5 MB/s up) spares the kernel to cut up a guest's large segments.
    """
    return max(rate // _BURST_PER_S, _BURST_FRAMES * (mtu + _FRAME))


def queue_of(rate: int, mtu: int) -> int:
    """Bytes that may wait: those of 25 ms, or twelve frames where that is more.

    Measured at 100 kB/s: TCP (cubic) reaches 0.95 of the rate with 15,000 to 30,000 bytes and 0.91 with 40,000, as its window then takes
    seconds to fill the queue again after each loss; below ten frames it has no room for its bursts.
    """
    return max(rate // _QUEUE_PER_S, _QUEUE_FRAMES * (mtu + _FRAME))


def limiter_of(device: str) -> str:
    """The device behind a port that holds its guest to the rate: `ifb<domid>.<index>` of `vif<domid>.<index>` or `tap<domid>.<index>`."""
    return f"ifb{device[3:]}"
