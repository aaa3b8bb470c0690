"""Checks of the store: a put and a take, Redis's memory policy, the store's clock."""

from __future__ import annotations

from ..concurrency import within
from ..flow.health import Health
from ..tokens.service import OneTimeTokens
from .report import Report

# Seconds by which two clocks may differ; beyond the second number links fail.
_SKEW, _FATAL_SKEW = 5.0, 60.0


async def check_store(
    report: Report, tokens: OneTimeTokens, health: Health, timeout: float
) -> bool:
    """Write what is known of the store; return whether it works."""
    backend = tokens.backend
    if not health.ok:
        problem = f"{backend.name}: {health.problem}"
        report.fail("store", problem, _cure(health.problem), word="backend_failed")
        return False
    took = f"a put and a take took {health.seconds * 1000:.1f} ms"
    report.ok("store", f"{backend.name}: {took}")
    if health.seconds > 0.5:
        report.warn("store", took, "look at the way to the store, and at its load")
    if not backend.shared:
        report.warn(
            "store",
            f"{backend.name} is in the memory of one process",
            "with several workers, or another site, pass a backend= that all of them reach",
        )
    try:
        facts = await within(timeout, backend.ask_server())
    except Exception as error:
        report.warn(
            "store",
            f"its settings cannot be read ({type(error).__name__})",
            "look at maxmemory-policy and the clock there",
        )
        return True
    policy = facts.get("policy")
    if policy is not None and policy != "noeviction":
        report.warn(
            "store",
            f"Redis has maxmemory-policy {policy}, and drops live tokens when memory is short",
            "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
        )
    elif policy is not None:
        report.ok("store", "Redis has maxmemory-policy noeviction")
    if "time" in facts:
        compare_clocks(report, "the store", facts["time"] - backend.clock())
    return True


def compare_clocks(report: Report, of: str, ahead: float) -> bool:
    """Write how far another clock is from this one; return whether links can work all the same.

    :param of: what has the other clock, for the lines.
    :param ahead: seconds by which the other clock is ahead.
    """
    if abs(ahead) <= _SKEW:
        report.ok("clock", f"as that of {of}")
        return True
    way = "behind" if ahead > 0 else "ahead of"
    text = f"this site's clock is {abs(ahead):.0f} s {way} that of {of}"
    cure = "have both hosts set their clocks by NTP (chrony, systemd-timesyncd)"
    if abs(ahead) > _FATAL_SKEW:
        report.fail("clock", text, cure)
        return False
    report.warn("clock", text, cure)
    return True


def _cure(problem: str) -> str:
    if "create_table" in problem:
        return "once, before a release: SQLAlchemyBackend(URL).create_table(), or your migrations"
    return "is the address right, does the server run, and may this user read and write there?"
