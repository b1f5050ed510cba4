"""Drivers: what devices are told by ethtool's netlink, and how what was asked of them is seen.

A feature counts as on where it is wanted of the device, whatever else keeps it off at the moment (tso without sg, lro in a bridge): asking
again would not help. What a device cannot do at all counts as it was asked for. Both are said once in the log.
Measured: a feature that changes, also by somebody else's `ethtool -K`, comes as a notification of its device.
"""

import errno
import logging
import struct
from collections.abc import Mapping

from xenet.datapath.ethtool import (
    GENERIC,
    Features,
    find_family,
    get_features,
    get_link_modes,
    get_names,
    masks_of,
    parse_family,
    parse_features,
    parse_link_modes,
    parse_names,
    same_modes,
    set_features,
    set_link_modes,
)
from xenet.datapath.links import Link
from xenet.datapath.netlink import NetlinkError, Socket
from xenet.plan.ethtool import LINK, OFFLOADS
from xenet.plan.view import Settings

log = logging.getLogger("xenet.datapath")
LACKING = "this kernel has no ethtool netlink (Linux 5.6): ethtool-* and gro have no effect here"


class Drivers:
    """Of the devices in the network namespace of the thread that makes it. Devices are asked when somebody asks for their settings, and
    remembered until `forget`."""

    def __init__(self) -> None:
        self._socket = Socket(protocol=GENERIC)
        self._family: int | None = None
        self._masks: Mapping[str, int] = {}
        self._size = 0
        self._features: dict[int, Features] = {}
        self._links: dict[int, Settings] = {}
        self._unable: dict[int, dict[str, str]] = {}
        """ifindex -> what was asked for in vain."""
        self._said: set[tuple[str, str]] = set()

    def close(self) -> None:
        self._socket.close()

    def forget(self, index: int, gone: bool = False) -> bool:
        """There are news of a device; whether anything was known of it."""
        if gone:
            self._unable.pop(index, None)
        known = index in self._features or index in self._links
        self._features.pop(index, None)
        self._links.pop(index, None)
        return known

    def seen(self, link: Link, asked: Settings) -> Settings:
        """Of a device, these words alone."""
        if not asked or not self._ready():
            return asked
        try:
            return {word: self._value(link.index, word, value) for word, value in asked.items()}
        except NetlinkError as error:
            self._say(link.name, "", f"{link.name} does not answer ethtool: {error.strerror}")
            return asked

    def tell(self, link: Link, asked: Settings) -> None:
        """Make a device as asked for, as far as it can. Raises NetlinkError where it is gone."""
        if not asked or not self._ready():
            return
        now = self.seen(link, asked)
        different = {word: value for word, value in asked.items() if now[word] != value}
        offloads = {word: value for word, value in different.items() if word in OFFLOADS}
        modes = {word: value for word, value in different.items() if word in LINK}
        if offloads:
            self._tell_features(link, offloads)
        if modes:
            self._tell_link(link, {word: asked[word] for word in LINK if word in asked})
        self._check(link, asked)

    def _ready(self) -> bool:
        """Whether the kernel has this family; asked once."""
        if self._family is None:
            try:
                self._learn()
            except (NetlinkError, KeyError, struct.error) as error:
                self._family = 0
                log.warning("%s (%s)", LACKING, error)
        return bool(self._family)

    def _learn(self) -> None:
        found = self._socket.get(find_family())
        family = parse_family(found) if found else 0
        names = self._socket.get(get_names(family)) if family else None
        bits = parse_names(names) if names else {}
        self._masks, self._size = masks_of(bits), max(bits, default=-1) + 1
        self._family = family

    def _value(self, index: int, word: str, asked: str) -> str:
        if self._unable.get(index, {}).get(word) == asked:
            return asked
        if word in LINK:
            now = self._link(index).get(word, asked)
            return asked if word == "advertise" and same_modes(now, asked) else now
        features, mask = self._features_of(index), self._masks.get(word, 0)
        if not mask & features.changeable:
            return asked
        return "on" if mask & features.changeable & features.wanted else "off"

    def _features_of(self, index: int) -> Features:
        if index not in self._features:
            message = self._socket.get(get_features(self._family or 0, index))
            self._features[index] = parse_features(message) if message else Features(0, 0, 0)
        return self._features[index]

    def _link(self, index: int) -> Settings:
        """Nothing of a device without such settings."""
        if index not in self._links:
            try:
                message = self._socket.get(get_link_modes(self._family or 0, index))
            except NetlinkError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                message = None
            self._links[index] = parse_link_modes(message) if message else {}
        return self._links[index]

    def _tell_features(self, link: Link, settings: Settings) -> None:
        able = self._features_of(link.index).changeable
        on, off = (sum(self._masks[word] & able for word, value in settings.items() if value == which) for which in ("on", "off"))
        try:
            self._socket.run(set_features(self._family or 0, link.index, on, off, self._size))
        except NetlinkError as error:
            self._refused(link, settings, error)
        self.forget(link.index)

    def _tell_link(self, link: Link, settings: Settings) -> None:
        """One is given with the others: the kernel looks at speed, duplex and autoneg together."""
        try:
            self._socket.run(set_link_modes(self._family or 0, link.index, settings))
        except NetlinkError as error:
            self._refused(link, settings, error)
        self.forget(link.index)

    def _refused(self, link: Link, settings: Settings, error: NetlinkError) -> None:
        if error.errno == errno.ENODEV:
            raise error
        self._unable.setdefault(link.index, {}).update(settings)
        for word, value in settings.items():
            self._say(link.name, word, f"{link.name} does not take {word} {value}: {error.strerror}")

    def _check(self, link: Link, asked: Settings) -> None:
        """Say what does not come to pass, now that all was tried."""
        seen = self.seen(link, asked)
        for word in (word for word in asked if seen[word] != asked[word]):
            self._unable.setdefault(link.index, {})[word] = asked[word]
            self._say(link.name, word, f"{link.name} does not do {word} {asked[word]}: it stays {seen[word]}")
        features = self._features_of(link.index)
        for word in (word for word in asked if word in OFFLOADS):
            mask = self._masks.get(word, 0)
            if bool(mask & features.active) != (asked[word] == "on"):
                why = "something else keeps it from it" if mask & features.changeable else "it cannot be changed"
                self._say(link.name, word, f"{link.name} does not do {word} {asked[word]}: {why}")

    def _say(self, device: str, word: str, text: str) -> None:
        """Once."""
        if (device, word) not in self._said:
            self._said.add((device, word))
            log.warning("%s", text)
