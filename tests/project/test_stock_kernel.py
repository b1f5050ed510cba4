"""The harness of the stock kernel calls nothing a pass that is none. Here a shell stands for the virtual machine: it ends, dies or hangs."""

import pytest

from tests.e2e.world import until
from tools.stock_kernel import NO_RESULT, judge, last_lines, run_machine

PASSED = '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>'
SKIPPED = '<testsuites><testsuite><testcase name="a"><skipped/></testcase></testsuite></testsuites>'


def _judged(out, status=None, report=None, in_time=True):
    for name, text in (("status", status), ("junit.xml", report)):
        if text is not None:
            (out / name).write_text(text)
    return judge(out, in_time, 60).status


def test_a_pass_is_status_0_with_a_report_of_tests_that_ran(tmp_path):
    assert _judged(tmp_path, "0\n", PASSED) == 0


@pytest.mark.parametrize(
    ("status", "report", "in_time"),
    [(None, PASSED, True), ("", PASSED, True), ("0\n", None, True), ("0\n", "<tests", True), ("0\n", SKIPPED, True), ("0\n", PASSED, False)],
    ids=["no status", "torn status", "no report", "torn report", "all skipped", "time-out"],
)
def test_whatever_lacks_is_no_pass(tmp_path, status, report, in_time):
    assert _judged(tmp_path, status, report, in_time) == NO_RESULT


def test_an_inner_failure_keeps_its_status(tmp_path):
    assert _judged(tmp_path, "1\n", PASSED) == 1


def test_a_machine_that_dies_has_no_result(tmp_path):
    in_time = run_machine(["sh", "-c", "echo panic; kill -9 $$"], tmp_path, 60)
    assert judge(tmp_path, in_time, 60).status == NO_RESULT
    assert last_lines(tmp_path / "console") == "panic"


def test_a_machine_that_hangs_is_a_time_out_and_is_gone_with_its_children(tmp_path):
    in_time = run_machine(["sh", "-c", f"sleep 600 & echo $! >{tmp_path}/child; wait"], tmp_path, 5)
    assert judge(tmp_path, in_time, 5).why == "no result after 5 s: time-out"
    child = int((tmp_path / "child").read_text())
    until(lambda: not _runs(child))


def _runs(pid):
    """Whether the process runs; one that is dead but not yet reaped by its new parent does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
