#!/usr/bin/env python3
"""Boots a stock Debian kernel in a virtual machine, runs a pytest selection inside, and brings back what it said.

    tools/stock_kernel.py [--seconds N] [SELECTION...]        what pytest takes; tests/stock if nothing is named

For tests of what a slim kernel lacks: 8021q, VLAN-filtering bridges, bonding, openvswitch.ko, netem. The machine's files are this machine's
own (9p); what is written inside is lost, but for one folder with the log, junit.xml and the exit status. The status is a file, because
virtme-ng's own does not come back from every host. No such file means that the machine crashed, hung or ran out of time: a failure.
Kernel and busybox are Debian's packages, unpacked below .cache/stock, a folder each version. KVM is not used: where /dev/kvm is there it
may still not work, and a boot takes 10 s without it.
"""

import argparse
import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "stock"
NO_RESULT = 70  # the machine gave no answer: none of pytest's own numbers
PATIENCE = 8  # how many times slower than outside tests may be, before their waiting ends
# As systemd's sbin, which a user's PATH may lack.
PATH = f"{ROOT}/.venv/bin:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
TOOLS = {"apt-get": "apt", "dpkg": "dpkg", "depmod": "kmod", "qemu-system-x86_64": "qemu-system-x86", "vng": "virtme-ng (make setup)"}


class StockError(Exception):
    """What hinders the run, in one line."""


class Outcome(NamedTuple):
    """What a run says: pytest's exit status or NO_RESULT, and why in one line."""

    status: int
    why: str


def say(text: str) -> None:
    print(f"stock: {text}", flush=True)


# --- what boots -----------------------------------------------------------------------------------------------------


def check_tools() -> None:
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=PATH) is None:
            raise StockError(f"{tool} is missing; install {package}")


def output(*argv: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(argv, check=False, cwd=cwd, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C", "PATH": PATH})
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise StockError(f"{' '.join(argv)}: {last}")
    return done.stdout


def apt_field(package: str, field: str) -> str:
    """A field of the package's newest version in apt's lists."""
    found = re.search(rf"^{field}: (.*)$", output("apt-cache", "show", "--no-all-versions", package), re.MULTILINE)
    if found is None:
        raise StockError(f"apt knows no {field} of {package}; run apt-get update")
    return found[1]


def unpacked(package: str) -> Path:
    """The package's files, fetched once for each version. Safe when several runs ask at once."""
    folder = CACHE / f"{package}_{apt_field(package, 'Version').replace(':', '%3a')}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            say(f"fetching {package}")
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                output("apt-get", "download", package, cwd=Path(scratch))
                (archive,) = Path(scratch).glob("*.deb")
                output("dpkg", "-x", str(archive), f"{scratch}/files")
                for modules in Path(scratch).glob("files/lib/modules/*"):
                    output("depmod", "-b", f"{scratch}/files", modules.name)
                Path(f"{scratch}/files").rename(folder)
    return folder


def kernel_image() -> Path:
    """vmlinuz of the kernel on which linux-image-amd64 depends; its modules lie beside it, where virtme-ng looks for them."""
    package = apt_field("linux-image-amd64", "Depends").split()[0]
    (image,) = unpacked(package).glob("boot/vmlinuz-*")
    return image


NICS = " ".join(f"-netdev hubport,id=cable{n},hubid=0 -device e1000,netdev=cable{n}" for n in range(2))
"""Two NICs with a driver of their own and a cable between them; the machine loads e1000 when a test asks for it."""

# --- one run --------------------------------------------------------------------------------------------------------


def inner_command(out: Path, selection: list[str]) -> str:
    """What the machine's shell runs: pytest without any cache that would be written, its status last, so that a torn run has none. Of a folder
    two files at a time run, as the machine has two processors; a single file has them to itself."""
    pairs = ["-n", "2", "--dist", "loadfile"] if any((ROOT / name).is_dir() for name in selection) else []
    # The empty -m takes away the ordinary run's "not stock".
    pytest = [f"{ROOT}/.venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "-m", "", *pairs, f"--junitxml={out}/junit.xml", *selection]
    run = f"cd {shlex.quote(str(ROOT))} && CI=1 PYTHONDONTWRITEBYTECODE=1 XENET_PATIENCE={PATIENCE} {shlex.join(pytest)}"
    return f"( {run} ) </dev/null >{out}/log 2>&1; echo $? >{out}/status.new; mv {out}/status.new {out}/status"


def compile_code() -> None:
    """Once, outside: inside, where nothing that is written lasts, each process would compile all that it imports."""
    output(f"{ROOT}/.venv/bin/python", "-m", "compileall", "-q", "src", "tests")


def boot_command(out: Path, selection: list[str]) -> list[str]:
    busybox = unpacked("busybox-static") / "bin" / "busybox"
    # fmt: off
    return ["vng", "--run", str(kernel_image()), "--busybox", str(busybox), "--disable-kvm", "--user", "root", "--cpus", "2", "--memory", "1G",
            f"--rwdir={out}", "--verbose", f"--qemu-opts={NICS}", "--", inner_command(out, selection)]
    # fmt: on


def show_news(log: Path, shown: int) -> int:
    """Print what the log has gained since `shown` bytes; how many there are now."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(shown)
        news = file.read()
        print(news.decode(errors="replace"), end="", flush=True)
        return shown + len(news)
    return shown


def run_machine(command: list[str], out: Path, seconds: float) -> bool:
    """Run until it ends; whether it did in time. It and all its children are gone afterwards, whatever happened."""
    end, shown = time.monotonic() + seconds, 0
    with (out / "console").open("wb") as console:
        # A session of its own, so that one signal reaches qemu and every shell in between.
        machine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True, cwd=out, env={**os.environ, "PATH": PATH}
        )
        try:
            # The status is the end: a machine that hangs while it powers off has given its answer.
            while machine.poll() is None and not (out / "status").exists() and time.monotonic() < end:
                shown = show_news(out / "log", shown)
                time.sleep(0.25)
            return machine.poll() is not None or (out / "status").exists()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
            show_news(out / "log", shown)


def judge(out: Path, in_time: bool, seconds: float) -> Outcome:
    """What the run's folder says. Only a status of 0 with a readable report of tests that ran is a pass."""
    if not in_time:
        return Outcome(NO_RESULT, f"no result after {seconds:g} s: time-out")
    try:
        status = int((out / "status").read_text())
    except (FileNotFoundError, ValueError):
        return Outcome(NO_RESULT, "no exit status: the machine crashed or did not boot")
    if status:
        return Outcome(status, f"pytest's exit status is {status}")
    try:
        ran = sum(1 for case in ElementTree.parse(out / "junit.xml").iter("testcase") if case.find("skipped") is None)
    except (FileNotFoundError, ElementTree.ParseError):
        return Outcome(NO_RESULT, "exit status 0, but no readable junit.xml")
    return Outcome(0, f"{ran} tests passed") if ran else Outcome(NO_RESULT, "no test ran")


def last_lines(file: Path, count: int = 30) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-count:]) if file.exists() else ""


def run(selection: list[str], seconds: float, junit: Path | None) -> int:
    check_tools()
    compile_code()
    with tempfile.TemporaryDirectory(prefix="xenet-stock-") as folder:
        out = Path(folder)
        command = boot_command(out, selection)
        say(f"booting {Path(command[2]).name}; pytest {shlex.join(selection)}")
        outcome = judge(out, run_machine(command, out, seconds), seconds)
        if outcome.status == NO_RESULT:
            print(last_lines(out / "console"), file=sys.stderr)
        if junit is not None and (out / "junit.xml").exists():
            shutil.copy(out / "junit.xml", junit)
    say(outcome.why)
    return outcome.status


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description="Run pytest on a stock Debian kernel in a virtual machine.")
    parser.add_argument("--seconds", type=float, default=1500, help="time limit of boot and tests together (1500)")
    parser.add_argument("--junit", type=Path, help="where to put the report junit.xml")
    options, selection = parser.parse_known_args()
    signal.signal(signal.SIGTERM, _end)
    try:
        return run(selection or ["tests/stock"], options.seconds, options.junit)
    except StockError as error:
        print(f"stock: {error}", file=sys.stderr)
        return NO_RESULT
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
