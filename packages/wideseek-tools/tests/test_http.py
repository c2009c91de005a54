import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from loopback import FAULTS, Reply, Stub, reply

from wideseek_core.errors import ToolError, ToolRefused, ToolUnavailable
from wideseek_tools.config import Limits
from wideseek_tools.http import HttpService, objects, pause_s, retry_after_s

QUICK = Limits(timeout_s=0.3, deadline_s=1.0, tries=2, max_bytes=10_000, per_second=1000.0)


def service(stub: Stub, limits: Limits = QUICK) -> HttpService:
    headers = {"Authorization": "Bearer very-secret"}
    return HttpService("Service", stub.url, limits, headers, variable="SERVICE_KEY")


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_ends_in_a_typed_error_without_the_key(stub: Stub, fault: str) -> None:
    stub.answers([FAULTS[fault]])
    started = time.monotonic()
    async with service(stub) as http:
        with pytest.raises(ToolError, match=r"Service|shape") as caught:
            objects(await http.post("/x", {"q": "a"}), "organic")
    assert "very-secret" not in repr(caught.value)
    assert time.monotonic() - started < 3


async def test_passing_fault_is_tried_again(stub: Stub) -> None:
    stub.answers([reply({}, 429, Retry_After="0"), reply({"ok": 1})])
    async with service(stub) as http:
        assert await http.post("/x", {}) == {"ok": 1}
    assert len(stub.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
async def test_lasting_fault_is_not_tried_again(stub: Stub, status: int) -> None:
    stub.answers([reply({}, status)])
    async with service(stub) as http:
        with pytest.raises(ToolError):
            await http.get("/x", {})
    assert len(stub.requests) == 1


async def test_refused_key_names_its_variable(stub: Stub) -> None:
    stub.answers([FAULTS["unauthorised"]])
    async with service(stub) as http:
        with pytest.raises(ToolUnavailable, match="SERVICE_KEY"):
            await http.get("/x", {})


async def test_bad_request_is_refused(stub: Stub) -> None:
    stub.answers([reply({}, 422)])
    async with service(stub) as http:
        with pytest.raises(ToolRefused, match="422"):
            await http.get("/x", {})


async def test_pause_beyond_the_deadline_is_not_waited_for(stub: Stub) -> None:
    stub.answers([reply({}, 503, Retry_After="3600")])
    async with service(stub) as http:
        with pytest.raises(ToolUnavailable, match="503"):
            await http.get("/x", {})
    assert len(stub.requests) == 1


async def test_unreachable_service() -> None:
    async with HttpService("Service", "http://127.0.0.1:9", QUICK) as http:
        with pytest.raises(ToolUnavailable, match="can't be reached"):
            await http.get("/x", {})


async def test_unusable_address() -> None:
    async with HttpService("Service", "not an address", QUICK) as http:
        with pytest.raises(ToolUnavailable, match="not a usable address"):
            await http.get("/x", {})


async def test_requests_in_flight_are_limited(stub: Stub) -> None:
    now = most = 0
    stub.answers([Reply(200, b"{}", delay_s=0.05)])
    limits = QUICK.model_copy(update={"concurrent": 3, "deadline_s": 10.0, "timeout_s": 5.0})
    async with service(stub, limits) as http:

        async def call() -> None:
            nonlocal now, most
            await http.get("/x", {})

        calls = [asyncio.create_task(call()) for _ in range(12)]
        while not all(call.done() for call in calls):
            now = len(stub.requests) - sum(call.done() for call in calls)
            most = max(most, now)
            await asyncio.sleep(0.005)
    assert 1 <= most <= 3


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s("") is None
    assert retry_after_s("soon") is None
    assert retry_after_s("2.5") == 2.5
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (retry_after_s(date) or 0) <= 30
    assert retry_after_s("Wed, 01 Jan 2020 00:00:00 GMT") == 0.0


def test_pauses_grow_to_a_limit() -> None:
    assert 0.5 <= pause_s(1) <= 1.0
    assert 4.0 <= pause_s(4) <= 8.0
    assert pause_s(20) <= 30.0


def test_objects_of_an_answer() -> None:
    assert objects({"a": {"b": [{"x": 1}, 2]}}, "a", "b") == [{"x": 1}]
    assert objects({"a": None}, "a", "b") == []
    with pytest.raises(ToolUnavailable, match="shape"):
        objects([], "a")
    with pytest.raises(ToolUnavailable, match="no list"):
        objects({"a": 1}, "a")
