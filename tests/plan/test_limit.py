"""What a VIF's record asks for as a rate, and the sizes that follow from it."""

import pytest
from msgspec import structs

from tests.plan.pools import HERE, pool, vif
from xenet.model.hidden import Edit
from xenet.plan.compile import affected_bridges, compile_switch
from xenet.plan.limit import burst_of, limiter_of, queue_of, rate_of


@pytest.mark.parametrize(
    ("algorithm", "params", "rate"),
    [
        ("ratelimit", {"kbps": "100"}, 102400),
        ("ratelimit", {"kbps": "1", "timeslice_us": "1"}, 1024),
        ("ratelimit", {"kbps": "007"}, 7168),
        ("ratelimit", {"kbps": "83886079"}, 83886079 * 1024),
        ("ratelimit", {"kbps": "83886080"}, 0),  # 2**32 bytes in 50 ms
        ("ratelimit", {"kbps": "9" * 6000}, 0),
        ("ratelimit", {"kbps": "0"}, 0),
        ("ratelimit", {"kbps": "-1"}, 0),
        ("ratelimit", {"kbps": ""}, 0),
        ("ratelimit", {"kbps": "1.5"}, 0),
        ("ratelimit", {"kbps": "ten"}, 0),
        ("ratelimit", {"kbps": "\u0661"}, 0),
        ("ratelimit", {}, 0),
        ("", {"kbps": "100"}, 0),
        ("tbf", {"kbps": "100"}, 0),
    ],
)
def test_rate_of_a_record(algorithm, params, rate):
    assert rate_of(structs.replace(vif("a", 0, "red"), qos_algorithm_type=algorithm, qos_algorithm_params=params)) == rate


@pytest.mark.parametrize("rate", [1024, 102400, 1024 * 1250, 1024 * 125000])
@pytest.mark.parametrize("mtu", [68, 1500, 9000, 65535])
def test_frames_fit_and_wait_no_longer_than_they_must(rate, mtu):
    burst, queue = burst_of(rate, mtu), queue_of(rate, mtu)
    assert 3 * (mtu + 18) <= burst < queue
    if mtu <= 9000 and rate >= 1024 * 1250:
        assert queue / rate < 0.1
    if mtu <= 1500 and rate >= 102400:
        assert burst / rate < 0.05  # so that 10 s at this rate let 1.005 times as much pass at most


def test_the_limiter_is_named_after_the_port():
    assert limiter_of("vif12.3") == limiter_of("tap12.3") == "ifb12.3"


@pytest.mark.parametrize("field", ["qos_algorithm_type", "qos_algorithm_params"])
def test_a_changed_limit_reaches_the_switch(field):
    words = {"networks": {"red": {}}, "vms": {"a": {"domid": 1, "vifs": {0: {"network": "red", "kbps": 100}}}}}
    before = pool(words)
    record = vif("a", 0, "red", kbps=200)
    after = before.with_record("VIF", record.ref, record)
    value = getattr(record, field)
    assert affected_bridges(before, after, Edit("VIF", record.ref, {field: value}, {field: value})) == {"br-red"}
    switch = compile_switch(after, HERE, "br-red")
    assert switch is not None
    assert switch.ports["vif1.0"].rate == 204800
