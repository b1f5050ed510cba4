"""Named states of a small pool, as one host sees it. Tests walk from any of them to any other, so a state that once went wrong belongs here.

The host has the NICs eth0 and eth1; all states share their records where names agree.
"""

from tests.plan.pools import Words, pool
from xenet.model.state import PoolState

_NETWORKS = {"lan": {}, "wan": {}, "both": {}, "dmz": {}, "store": {}, "red": {}, "blue": {}, "over": {}, "xenapi": {}, "theirs": {"managed": False}}
_LAN = {"eth0": {"network": "lan"}}
_BOTH = {**_LAN, "eth1": {"network": "wan"}}

WORDS: dict[str, Words] = {
    "nothing": {},
    "two NICs": {"networks": _NETWORKS, "pifs": _BOTH},
    "a PIF unplugged": {"networks": _NETWORKS, "pifs": {**_LAN, "eth1": {"network": "wan", "plugged": False}}},
    "PIFs changed places": {"networks": _NETWORKS, "pifs": {"eth0": {"network": "wan"}, "eth1": {"network": "lan"}}},
    "management moved": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan", "address": "10.0.0.5/24", "gateway": "10.0.0.1", "management": True}, "eth1": {"network": "wan"}},
    },
    "management renumbered": {
        "networks": {**_NETWORKS, "lan": {"routes": "10.9.0.0/16/10.1.0.9"}},
        "pifs": {"eth0": {"network": "lan", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "management": True}, "eth1": {"network": "wan"}},
    },
    "addresses by DHCP": {
        "networks": _NETWORKS,
        "pifs": {
            "eth0": {"network": "lan", "dhcp": True, "address": "10.0.0.60/24", "gateway": "10.0.0.1", "management": True},
            "eth1": {"network": "wan", "mode6": "DHCP", "address6": "2001:db8::160/128"},
        },
    },
    "other addresses by DHCP": {
        "networks": _NETWORKS,
        "pifs": {
            "eth0": {"network": "lan", "dhcp": True, "address": "10.0.0.61/24", "mode6": "DHCP", "address6": "2001:db8::161/128"},
            "eth1": {"network": "wan", "dhcp": True},
        },
    },
    "routers are heard": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan", "mode6": "Autoconf", "primary": "IPv6"}, "eth1": {"network": "wan", "mode6": "Autoconf"}},
    },
    "addresses changed places": {
        "networks": {**_NETWORKS, "wan": {"routes": "10.9.0.0/16/10.0.0.9"}},
        "pifs": {
            "eth0": {"network": "lan", "mode6": "Static", "address6": "2001:db8::1/64"},
            "eth1": {"network": "wan", "address": "10.0.0.5/24", "gateway": "10.0.0.1", "management": True},
        },
    },
    "a bond": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan"}, "eth1": {"network": "wan"}},
        "bonds": {"bond0": {"network": "both", "slaves": ["eth0", "eth1"], "address": "10.0.0.5/24", "gateway": "10.0.0.1", "management": True}},
        "vms": {"a": {"domid": 1, "vifs": {0: "both"}}},
    },
    "a bond otherwise, a VLAN on it": {
        "networks": {**_NETWORKS, "both": {"mtu": 9000}},
        "pifs": {"eth0": {"network": "lan"}, "eth1": {"network": "wan"}},
        "bonds": {"bond0": {"network": "both", "slaves": ["eth1", "eth0"], "mode": "lacp", "mtu": 9000, "properties": {"lacp-time": "fast"}}},
        "vlans": {"bond0.42": {"network": "dmz"}},
        "vms": {"a": {"domid": 1, "vifs": {0: "both", 1: "dmz"}}},
    },
    "a bond of one NIC, the other alone, with the VLAN": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan"}, "eth1": {"network": "wan"}},
        "bonds": {"bond0": {"network": "both", "slaves": ["eth1"], "mode": "active-backup", "other_config": {"bond-miimon": "20"}}},
        "vlans": {"eth0.42": {"network": "dmz"}},
        "vms": {"a": {"domid": 1, "vifs": {0: "lan", 1: "dmz"}}},
    },
    "an unplugged bond, VLANs on it": {
        "networks": {**_NETWORKS, "both": {"mtu": 9000}},
        "pifs": {"eth0": {"network": "lan"}, "eth1": {"network": "wan"}},
        "bonds": {"bond0": {"network": "both", "slaves": ["eth1", "eth0"], "mode": "active-backup", "mtu": 9000, "plugged": False}},
        "vlans": {"bond0.42": {"network": "dmz"}, "bond0.43": {"network": "store", "mtu": 9000, "address": "10.0.0.5/24"}},
        "vms": {"a": {"domid": 1, "vifs": {0: "dmz"}}, "b": {"domid": 2, "vifs": {0: "store"}}},
    },
    "two VMs on an internal network": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {"a": {"domid": 1, "vifs": {0: "red"}}, "b": {"domid": 2, "vifs": {0: "red"}}},
    },
    "a router": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {"a": {"domid": 1, "vifs": {0: "red"}}, "b": {"domid": 2, "vifs": {0: "red", 1: "blue", 2: "lan"}}},
    },
    "VIFs moved": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {"a": {"domid": 1, "vifs": {0: "lan"}}, "b": {"domid": 2, "vifs": {0: "blue", 1: "red"}}},
    },
    "mirrors": {
        "networks": {**_NETWORKS, "lan": {"mirror": "b.2"}},
        "pifs": _LAN,
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "red", "mirror": "b.0"}, 1: "lan"}}, "b": {"domid": 2, "vifs": {0: "red", 2: "lan"}}},
    },
    "rebooted": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {"a": {"domid": 3, "vifs": {0: "red"}}, "b": {"domid": 4, "vifs": {0: "red", 1: "blue", 2: "lan"}}},
    },
    "taps": {
        "networks": _NETWORKS,
        "pifs": _BOTH,
        "vms": {"a": {"domid": 1, "kind": "tap", "vifs": {0: "red", 1: "lan"}}, "b": {"domid": 2, "vifs": {0: "red"}}},
    },
    "half unplugged, half elsewhere": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "red", "plugged": False}}}, "b": {"domid": 9, "host": "there", "vifs": {0: "blue"}}},
    },
    **{
        name: {"networks": _NETWORKS, "pifs": _LAN, "vms": {"a": {**a, "born": 1, "vifs": {0: "lan", 1: {"network": "red", "kbps": 100}}}}}
        for name, a in {
            "a VM about to leave": {"domid": 1, "peer": "there", "peer_domid": 11, "handing_over": True},
            "a VM about to come": {"domid": 11, "host": "there", "peer": "here", "peer_domid": 1, "handing_over": True},
            "a VM has come": {"domid": 1, "peer": "there", "peer_domid": 11},
            "a VM has left": {"domid": 11, "host": "there", "peer": "here", "peer_domid": 1},
        }.items()
    },
    "jumbo frames": {
        "networks": {"lan": {"mtu": 9000}, "wan": {}, "red": {"mtu": 9000}, "blue": {}},
        "pifs": {"eth0": {"network": "lan", "mtu": 9000}},
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "red", "mtu": 9000}}}, "b": {"domid": 2, "vifs": {0: {"network": "lan", "mtu": 9000}}}},
    },
    "VIFs limited": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {
            "a": {"domid": 1, "vifs": {0: {"network": "red", "kbps": 100}}},
            "b": {"domid": 2, "vifs": {0: {"network": "lan", "kbps": 1250}, 1: {"network": "blue", "mtu": 9000, "kbps": 100}}},
        },
    },
    "VIFs limited otherwise": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {
            "a": {"domid": 1, "vifs": {0: {"network": "red", "kbps": 125000}}},
            "b": {"domid": 2, "vifs": {0: {"network": "red", "kbps": 1250}, 1: {"network": "blue", "mtu": 9000}}},
        },
    },
    "VIFs locked": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {
            "a": {"domid": 1, "vifs": {0: {"network": "red", "lock": "locked", "allowed": "10.0.0.1,2001:db8::1"}}},
            "b": {"domid": 2, "vifs": {0: {"network": "lan", "lock": "locked", "kbps": 1250}, 1: {"network": "blue", "lock": "disabled"}}},
        },
    },
    "VIFs locked otherwise, a network disabled": {
        "networks": {**_NETWORKS, "red": {"lock": "disabled"}},
        "pifs": _LAN,
        "vms": {
            "a": {"domid": 1, "vifs": {0: {"network": "red", "lock": "locked", "allowed": "10.0.0.0/24,10.0.1.0/24"}}},
            "b": {"domid": 2, "vifs": {0: "red", 1: {"network": "blue", "lock": "unlocked"}}},
        },
    },
    "a tunnel": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan", "address": "10.0.0.5/24"}},
        "tunnels": {"over": {"over": "eth0", "peers": {"there": "10.0.0.6"}}},
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "over", "mtu": 1450}}}},
    },
    "a tunnel to others": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan", "address": "10.1.0.5/16"}},
        "tunnels": {"over": {"over": "eth0", "key": 7, "peers": {"there": "10.0.0.7", "yonder": "10.0.0.8"}}},
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "over", "mtu": 1450}}}, "b": {"domid": 2, "vifs": {0: "blue"}}},
    },
    "a tunnel by GRE": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan", "address": "10.0.0.5/24"}},
        "tunnels": {"over": {"over": "eth0", "mtu": 1458, "protocol": "gre", "peers": {"there": "10.0.0.6", "yonder": "10.0.0.7"}}},
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "over", "mtu": 1450}}}},
    },
    "a tunnel by GRE to nobody yet": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan", "address": "10.0.0.5/24"}},
        "tunnels": {"over": {"over": "eth0", "mtu": 1400, "key": 8, "protocol": "gre", "peers": {}}},
        "vms": {"a": {"domid": 1, "vifs": {0: "lan"}}, "b": {"domid": 2, "vifs": {0: {"network": "over", "mtu": 1400}}}},
    },
    "drivers are told": {
        "networks": {**_NETWORKS, "red": {"told": {"tx": "off"}}},
        "pifs": {"eth0": {"network": "lan", "gro": "off", "told": {"speed": "1000"}}, "eth1": {"network": "wan"}},
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "red", "told": {"tso": "off", "gro": "off"}}, 1: "lan"}}},
    },
    "drivers are told otherwise": {
        "networks": {**_NETWORKS, "lan": {"told": {"gso": "off"}}},
        "pifs": {"eth0": {"network": "lan", "gro": "off", "told": {"gro": "true", "lro": "fast"}}},
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "red", "told": {"tso": "on", "sg": "off"}}, 1: "lan"}}},
    },
    "VIFs on somebody else's bridge": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {"a": {"domid": 1, "vifs": {0: "theirs"}}, "b": {"domid": 2, "vifs": {0: "red", 1: {"network": "theirs", "kbps": 100}}}},
    },
    "guests reach their host": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "attached": ["blue"],
        "vms": {
            "a": {"domid": 1, "vifs": {0: {"network": "xenapi", "lock": "locked", "allowed": "169.254.0.2"}}},
            "b": {"domid": 2, "vifs": {0: "red", 1: {"network": "xenapi", "kbps": 100}}},
        },
    },
    "networks attached without a guest": {"networks": _NETWORKS, "pifs": _BOTH, "attached": ["red", "xenapi"]},
    "VLANs": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vlans": {"eth0.42": {"network": "red"}, "eth0.43": {"network": "blue", "address": "10.9.0.5/24"}},
        "vms": {"a": {"domid": 1, "vifs": {0: "red"}}, "b": {"domid": 2, "vifs": {0: "blue", 1: "lan"}}},
    },
    "VLANs changed places": {
        "networks": _NETWORKS,
        "pifs": _BOTH,
        "vlans": {"eth0.43": {"network": "red"}, "eth1.42": {"network": "blue"}},
        "vms": {"a": {"domid": 1, "vifs": {0: "red"}}},
    },
    "a VLAN alone, with management": {
        "networks": _NETWORKS,
        "pifs": {"eth0": {"network": "lan", "address": "10.0.0.5/24", "plugged": False}},
        "vlans": {"eth0.42": {"network": "blue", "address": "10.9.0.5/24", "gateway": "10.9.0.1", "management": True}},
    },
    "jumbo frames on a VLAN": {
        "networks": {"lan": {"mtu": 9000}, "wan": {}, "red": {"mtu": 9000}, "blue": {}},
        "pifs": {"eth0": {"network": "lan", "mtu": 9000}},
        "vlans": {"eth0.42": {"network": "red", "mtu": 9000}, "eth0.43": {"network": "blue"}},
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "red", "mtu": 9000}}}, "b": {"domid": 2, "vifs": {0: "blue"}}},
    },
    "VIFs made anew": {
        "networks": _NETWORKS,
        "pifs": _LAN,
        "vms": {"a": {"domid": 1, "vifs": {0: {"network": "red", "mac": "02:00:00:00:99:01"}}}, "b": {"domid": 2, "vifs": {0: "red"}}},
    },
}

STATES: dict[str, PoolState] = {name: pool(words) for name, words in WORDS.items()}
