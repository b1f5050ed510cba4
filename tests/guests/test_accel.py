"""Whether KVM is taken, by a machine that counts: emulated here, which comes to the same end."""

import os
import shutil
from pathlib import Path

import pytest

from xenet.guests import accel

pytestmark = pytest.mark.skipif(shutil.which(accel.QEMU) is None, reason=f"{accel.QEMU} is missing; install qemu-system-x86")
ENDLESS = bytes.fromhex("ebfe").ljust(510, b"\0") + b"\x55\xaa"


def test_a_machine_that_works_counts() -> None:
    assert accel.counts("tcg", 60)


def test_one_that_stands_still_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "BOOT_SECTOR", ENDLESS)
    assert not accel.counts("tcg", 1)


def test_one_that_does_not_start_does_not() -> None:
    assert not accel.counts("no-such-accelerator", 60)


@pytest.mark.parametrize(("counts", "found"), [(True, "kvm"), (False, "tcg")])
def test_what_was_found_holds_until_the_machine_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: bool, found: str) -> None:
    asked: list[str] = []

    def answer(name: str, seconds: float) -> bool:
        asked.append(name)
        return counts

    monkeypatch.setattr(accel, "KVM", tmp_path)
    monkeypatch.setattr(accel, "counts", answer)
    assert os.access(tmp_path, os.R_OK | os.W_OK)
    assert [accel.find_accel(tmp_path / "note") for _ in range(2)] == [found, found]
    (tmp_path / "note").write_text("another-boot tcg\n")
    assert accel.find_accel(tmp_path / "note") == found
    assert asked == ["kvm", "kvm"]
