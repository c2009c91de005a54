"""The one HTTP client for services: limits, retries for what can pass, a total deadline.

Error texts name the service and the status, never headers, so no key can leak into them.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx
from aiolimiter import AsyncLimiter
from pydantic import JsonValue

from wideseek_core.config import secret
from wideseek_core.errors import ConfigError, ToolRefused, ToolUnavailable
from wideseek_tools.config import Limits

T = TypeVar("T")
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses worth another try."""
LONGEST_PAUSE_S = 30.0


class PassingFault(ToolUnavailable):
    """A fault that may be gone at the next try."""

    def __init__(self, message: str, pause_s: float | None = None) -> None:
        super().__init__(message)
        self.pause_s = pause_s
        """What the service asked to wait."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response that is no error."""

    status: int
    content: bytes
    type: str
    encoding: str


class HttpService:
    """A client of one service. Use with `async with`."""

    def __init__(
        self,
        name: str,
        base: str,
        limits: Limits,
        headers: Mapping[str, str] | None = None,
        *,
        variable: str = "",
    ) -> None:
        self._name, self._limits, self._variable = name, limits, variable
        self._slots = asyncio.Semaphore(limits.concurrent)
        burst = max(1.0, limits.per_second)
        self._rate = AsyncLimiter(burst, burst / limits.per_second)
        self._client = httpx.AsyncClient(
            base_url=base.rstrip("/"),
            headers=dict(headers or {}),
            timeout=limits.timeout_s,
            trust_env=False,
            limits=httpx.Limits(max_connections=limits.concurrent),
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def post(self, path: str, body: Mapping[str, JsonValue]) -> JsonValue:
        """The JSON answer to a JSON request."""
        return self._json(await self._ask("POST", path, json=dict(body)))

    async def get(self, path: str, params: Mapping[str, str]) -> JsonValue:
        """The JSON answer to a query."""
        return self._json(await self._ask("GET", path, params=dict(params)))

    async def get_text(self, path: str, headers: Mapping[str, str]) -> str:
        """The text at a path."""
        answer = await self._ask("GET", path, headers=dict(headers))
        return answer.content.decode(answer.encoding, "replace")

    def _json(self, answer: Answer) -> JsonValue:
        try:
            return cast(JsonValue, json.loads(answer.content))
        except (ValueError, RecursionError):
            raise ToolUnavailable(f"{self._name} answered something that is not JSON") from None

    async def _ask(self, method: str, path: str, **given: Any) -> Answer:
        return await with_retries(self._name, self._limits, lambda: self._try(method, path, given))

    async def _try(self, method: str, path: str, given: dict[str, Any]) -> Answer:
        async with self._slots, self._rate:
            try:
                async with (
                    asyncio.timeout(self._limits.timeout_s),
                    self._client.stream(method, path, **given) as response,
                ):
                    self._check(response)
                    content = await self._body(response)
            except TimeoutError:
                line = f"{self._name} took longer than {self._limits.timeout_s:g} s"
                raise PassingFault(line) from None
            except (httpx.InvalidURL, httpx.UnsupportedProtocol):
                raise ToolUnavailable(f"{self._name}: not a usable address") from None
            except httpx.HTTPError as error:
                raise PassingFault(f"{self._name}: {cause(error)}") from None
        kind = response.headers.get("content-type", "")
        return Answer(response.status_code, content, kind, response.encoding or "utf-8")

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status in PASSING:
            pause = retry_after_s(response.headers.get("retry-after", ""))
            raise PassingFault(f"{self._name} answered {status}", pause)
        if status in (401, 403) and self._variable:
            raise ToolUnavailable(
                f"{self._name} refused the key ({status}): check {self._variable}"
            )
        if status in (400, 404, 413, 414, 422):
            raise ToolRefused(f"{self._name} refused the request ({status})")
        if not 200 <= status < 300:
            raise ToolUnavailable(f"{self._name} answered {status}")

    async def _body(self, response: httpx.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > self._limits.max_bytes:
                line = f"{self._name} sent more than {self._limits.max_bytes} bytes"
                raise ToolUnavailable(line)
            parts.append(part)
        return b"".join(parts)


async def with_retries(name: str, limits: Limits, attempt: Callable[[], Awaitable[T]]) -> T:
    """One call with all its tries. Raises `ToolUnavailable` when they or the time run out."""
    started = time.monotonic()
    for count in range(1, limits.tries + 1):
        left = limits.deadline_s - (time.monotonic() - started)
        try:
            async with asyncio.timeout(left):
                return await attempt()
        except TimeoutError:
            line = f"{name} did not answer within {limits.deadline_s:g} s"
            raise ToolUnavailable(line) from None
        except PassingFault as fault:
            left = limits.deadline_s - (time.monotonic() - started)
            pause = pause_s(count) if fault.pause_s is None else fault.pause_s
            if count == limits.tries or pause >= left:
                tried = "once" if count == 1 else f"{count} times"
                raise ToolUnavailable(f"{fault} (tried {tried})") from None
        await asyncio.sleep(pause)
    raise AssertionError("the last try returns or raises")


def cause(error: httpx.HTTPError) -> str:
    """What went wrong with a connection, without what was sent over it."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "can't be reached"
    if isinstance(error, httpx.TimeoutException):
        return "took too long"
    return f"broke off ({type(error).__name__})"


def pause_s(attempt: int) -> float:
    """Exponential, with jitter: 0.5 to 1 s after the first try, then twice that, and so on."""
    return min(LONGEST_PAUSE_S, 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)


def retry_after_s(value: str) -> float | None:
    """Seconds asked for by a `Retry-After` header, given as seconds or as a date."""
    text = value.strip()
    if not text:
        return None
    try:
        return max(0.0, float(text)) if text.replace(".", "", 1).isdigit() else _until(text)
    except (ValueError, TypeError, OverflowError):
        return None


def _until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def key_for(service: str, variable: str) -> str:
    """A service's key from the environment. Raises `ConfigError` naming the variable."""
    key = secret(variable)
    if key is None:
        raise ConfigError(f"{service} needs a key: set the environment variable {variable}")
    return key.get_secret_value()


def objects(answer: JsonValue, *path: str) -> list[dict[str, JsonValue]]:
    """The objects of the list at `path`; none if the path is absent. Raises `ToolUnavailable`."""
    value = answer
    for name in path:
        if not isinstance(value, dict):
            raise ToolUnavailable(f"an answer of an unknown shape: no {'.'.join(path)}")
        value = value.get(name)
        if value is None:
            return []
    if not isinstance(value, list):
        raise ToolUnavailable(f"an answer of an unknown shape: {'.'.join(path)} is no list")
    return [one for one in value if isinstance(one, dict)]


def string(item: Mapping[str, JsonValue], name: str) -> str:
    """A string field; empty if it is absent or no string."""
    value = item.get(name)
    return value if isinstance(value, str) else ""
