#!/usr/bin/env bash
# Installs what xenet, its tests and its demo need, and only what is missing: system packages by apt, then the virtual
# environment .venv with exactly the packages of requirements-dev.lock and xenet itself, editable.
#
# Run again it looks and ends: nothing is fetched, nothing is written. Any user may run it; only missing system packages
# need root (or sudo). Set PYTHON to choose another interpreter than the first fit one.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# Users other than root often lack the folders of the network tools.
export PATH="$PATH:/usr/sbin:/sbin"

venv=.venv
stamp=$venv/xenet-setup

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# --- system packages ------------------------------------------------------------------------------------------------

# Debian's package for each program that is not there.
missing_packages() {
    has make || echo make
    has unshare && has nsenter && has flock || echo util-linux
    has ip && has bridge && has tc || echo iproute2
    has ping || echo iputils-ping
    has arping || echo iputils-arping
    has tcpdump || echo tcpdump
    has iperf3 || echo iperf3
    has nft || echo nftables
    has ethtool || echo ethtool
    has udhcpc || echo udhcpc
    has udhcpd || echo udhcpd
    has dhclient || echo isc-dhcp-client
    has dnsmasq || echo dnsmasq-base
    # The stock kernel's virtual machine (tools/stock_kernel.py).
    has qemu-system-x86_64 || echo qemu-system-x86
    has depmod || echo kmod
}

# Never asks a question, and stays silent unless it fails.
apt() {
    local sudo=() log
    if [ "$(id -u)" -ne 0 ]; then
        sudo=(sudo -n)
    fi
    log=$(mktemp)
    if ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -o DPkg::Lock::Timeout=300 "$@" \
        </dev/null >"$log" 2>&1 9<&-; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

install_packages() {
    if ! has apt-get; then
        die "missing here, and there is no apt-get to install it; install the like of these Debian packages: $*"
    fi
    if [ "$(id -u)" -ne 0 ] && ! { has sudo && sudo -n true 2>/dev/null; }; then
        die "missing system packages; as root: apt-get install --no-install-recommends $*"
    fi
    say "apt-get install $*"
    apt update || say "apt-get update failed; trying with the package lists that are there"
    apt install -y --no-install-recommends "$@" || die "apt-get could not install: $*"
}

# --- the virtual environment ----------------------------------------------------------------------------------------

digest() { sha256sum "$@" | sha256sum | cut -d' ' -f1; }

# What .venv must have been made from: its place (a virtual environment cannot be moved) and the locked packages. Then,
# in a second line, what the editable install of xenet was made from.
wanted_environment() { echo "$root $(digest requirements-dev.lock)"; }
wanted_install() { digest pyproject.toml; }

environment_works() {
    [ "$(sed -n 1p "$stamp" 2>/dev/null)" = "$(wanted_environment)" ] && "$venv/bin/python" -c '' 2>/dev/null
}
install_is_current() { [ "$(sed -n 2p "$stamp" 2>/dev/null)" = "$(wanted_install)" ]; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
# Debian without python3-venv has venv, but not the ensurepip that it calls.
makes_environments() { "$1" -c 'import venv, ensurepip; ensurepip.version()' 2>/dev/null; }

find_python() {
    local python
    for python in ${PYTHON:-python3 /usr/bin/python3 python3.11 python3.12 python3.13 python3.14}; do
        if new_enough "$python" && makes_environments "$python"; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# The package that makes Debian's own interpreter fit; nothing, if one is fit already.
python_package() {
    if environment_works || find_python >/dev/null; then
        return
    fi
    if [ -n "${PYTHON:-}" ]; then
        die "PYTHON=$PYTHON is not a Python 3.11 or newer with venv and ensurepip"
    fi
    if [ -x /usr/bin/python3 ] && ! new_enough /usr/bin/python3; then
        die "needs Python 3.11 or newer; $(/usr/bin/python3 --version) is too old. Name another with PYTHON=..."
    fi
    echo python3-venv
}

# Errors are shown, what pip remarks upon its configuration is not.
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input -qq "$@"
}

# The lines of requirements-dev.lock of all packages but one, or of that one.
locked_without() { awk -v name="$1==" '/^[^ ]/ { it = index($0, name) == 1 } !it' requirements-dev.lock; }
locked_alone() { awk -v name="$1==" '/^[^ ]/ { it = index($0, name) == 1 } it' requirements-dev.lock; }

make_environment() {
    local python
    python=$(find_python) || die "no Python 3.11 or newer with venv and ensurepip (Debian: python3-venv)"
    say "making .venv with $("$python" --version) and the packages of requirements-dev.lock"
    rm -rf "$venv"
    "$python" -m venv "$venv" || die "$python -m venv failed"
    # Wheels only: building a package would fetch build tools that no lock names. Of `ovs` there are no wheels; it is plain
    # Python, and what builds it is locked, too.
    locked_without ovs >"$venv/wheels.lock"
    pip install --only-binary :all: --require-hashes -r "$venv/wheels.lock" || die "could not install requirements-dev.lock"
    locked_alone ovs >"$venv/built.lock"
    pip install --no-deps --no-build-isolation --no-binary ovs --require-hashes -r "$venv/built.lock" || die "could not install ovs"
    wanted_environment >"$stamp"
}

# --- Open vSwitch ---------------------------------------------------------------------------------------------------

# Its programs and the libraries that only they need, unpacked into the environment: installing Debian's packages would
# start a service on this machine, and again at each boot. What the machine has already is used as it is.
ovs_root=$venv/openvswitch
ovs_packages=(openvswitch-common openvswitch-switch libxdp1 libbpf1 libunbound8 libnuma1 libcap-ng0 libevent-2.1-7)

has_openvswitch() { { has ovs-vswitchd && has ovsdb-server; } || [ -e "$ovs_root/complete" ]; }

unpack_openvswitch() {
    local scratch deb
    if ! has apt-get || ! has dpkg-deb; then
        say "no Open vSwitch here, and no apt-get to fetch it: --datapath openvswitch and its tests need ovs-vswitchd and ovsdb-server"
        return
    fi
    say "unpacking Open vSwitch into $ovs_root"
    scratch=$(mktemp -d)
    if ! (cd "$scratch" && fetch_openvswitch >log 2>&1); then
        tail -n 20 "$scratch/log" >&2
        rm -rf "$scratch"
        die "apt-get could not download: ${ovs_packages[*]}"
    fi
    rm -rf "$ovs_root"
    mkdir "$ovs_root"
    for deb in "$scratch"/*.deb; do
        dpkg-deb --extract "$deb" "$ovs_root"
    done
    rm -rf "$scratch"
    touch "$ovs_root/complete"
}

fetch_openvswitch() {
    apt-get -o APT::Sandbox::User=root download "${ovs_packages[@]}" && return
    apt update
    apt-get -o APT::Sandbox::User=root download "${ovs_packages[@]}"
}

install_xenet() {
    say "installing xenet itself, editable"
    pip install --no-deps --no-build-isolation --no-index --editable . || die "could not install xenet into .venv"
    printf '%s\n%s\n' "$(wanted_environment)" "$(wanted_install)" >"$stamp"
}

# --------------------------------------------------------------------------------------------------------------------

main() {
    local wanted packages
    wanted="$(missing_packages; python_package)" || exit 1
    mapfile -t packages < <(printf '%s' "$wanted")
    if [ ${#packages[@]} -eq 0 ] && environment_works && has_openvswitch && install_is_current; then
        return
    fi
    # One at a time in a checkout: two makes at once would build one .venv. What the other one did is seen below.
    exec 9<"$root"
    if has flock && ! flock -n 9; then
        say "waiting for another setup of this checkout"
        flock 9
    fi
    if [ ${#packages[@]} -gt 0 ]; then
        install_packages "${packages[@]}"
    fi
    environment_works || make_environment
    has_openvswitch || unpack_openvswitch
    install_is_current || install_xenet
    say "ready"
}

main
