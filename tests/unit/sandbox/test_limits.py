"""The rate limit: 10 requests per second (``catalog_validations``), answered with 429."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from catalog_sandbox.limits import RateLimiter


def test_case_8_rate_limit(world, item):
    """Test case 8: the 11th request within a second is a 429 with the documented text and no Retry-After (U6)."""
    world.pace = 0.09
    answers = [world.upload(item()) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [201] * 10 + [429]
    assert answers[-1].json() == {"errorMsg": "Too Many Requests"}
    assert "retry-after" not in answers[-1].headers


def test_the_limit_spans_all_operations(world, item):
    """U5: uploads, archives and status calls share one limit."""
    world.pace = 0
    accepted = world.upload(item())
    for _ in range(9):
        world.status(accepted)
    assert world.archive(["A"]).status_code == 429


def test_the_pace_of_ten_a_second_is_kept(world, item):
    """Requests 0.11 s apart are never refused."""
    world.pace = 0.11
    assert {world.upload(item()).status_code for _ in range(40)} == {201}


def test_real_time_counts(make_world, item):
    """The limit follows real time, whatever the time scale."""
    world = make_world(time_scale=1000)
    world.pace = 0.0
    statuses = []
    for _ in range(11):
        statuses.append(world.upload(item()).status_code)
        world.run(100)
    assert statuses[-1] == 429


def test_a_refused_request_has_no_effect(world, item):
    """A 429 accepts nothing."""
    world.pace = 0
    for _ in range(11):
        world.upload(item())
    assert len(world.core.records()) == 10


@given(st.lists(st.floats(0, 0.3), max_size=60))
def test_no_window_has_more_than_ten(gaps):
    """Whatever the gaps, no window of one second holds more than ten admitted requests."""
    limiter, now, admitted = RateLimiter(10), 0.0, []
    for gap in gaps:
        now += gap
        if limiter.admits("account", now):
            admitted.append(now)
    assert all(later - first >= 1 for first, later in zip(admitted, admitted[10:], strict=False))


def test_accounts_do_not_share():
    """U5: each account has its own limit."""
    limiter = RateLimiter(1)
    assert [limiter.admits("a", 0.0), limiter.admits("b", 0.0), limiter.admits("a", 0.5)] == [True, True, False]
