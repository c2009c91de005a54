"""HTTP services as tools use them: JSON in and out, and failures as `ToolError`s."""

import json
import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from pydantic import JsonValue

from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import (
    NoContent,
    ServiceError,
    ServiceFault,
    ToolError,
    ToolRefused,
    ToolUnavailable,
)
from wideseek_core.limiter import PASSING_STATUSES

if TYPE_CHECKING:
    from wideseek_core.http import HttpClient

REFUSED_STATUSES = frozenset({400, 404, 405, 413, 414, 422})
"""A service's answers to a request that it will never accept; 401 to 403 are about the account."""
_ACCOUNT = re.compile(r"\b(?:credits?|quota|balance|billing|payment)\b", re.IGNORECASE)
"""What services say, some with a 400, when the account is used up: no fault of the request."""
MISSING_STATUSES = frozenset({404, 410})
Check = Callable[[JsonValue], None]


class Service:
    """One HTTP service. Every method raises `ToolRefused` or `ToolUnavailable`."""

    def __init__(self, client: "HttpClient") -> None:
        self._client = client

    async def post(
        self, path: str, body: Mapping[str, JsonValue], check: Check | None = None
    ) -> JsonValue:
        """The JSON answer to a JSON request; `check` finds failures inside an answer."""
        with tool_errors():
            return await self._client.post_json(path, dict(body), check=check)

    async def get(
        self, path: str, params: Mapping[str, str], check: Check | None = None
    ) -> JsonValue:
        """The JSON answer to a query."""
        with tool_errors():
            return await self._client.get_json(path, params, check=check)

    async def get_text(
        self,
        path: str,
        headers: Mapping[str, str],
        check: Callable[[str], None] | None = None,
    ) -> str:
        """The text of a page. Raises `NoContent` too."""
        try:
            return await self._client.get_text(path, headers=headers, check=check)
        except ServiceError as error:
            raise tool_error(error, is_page=True) from None


@asynccontextmanager
async def open_service(
    name: str,
    config: EndpointConfig,
    *,
    headers: Mapping[str, str] | None = None,
    key_header: str = "Authorization",
    key_required: bool = True,
) -> AsyncGenerator[Service]:
    """A service for the time of the block. Raises `ConfigError` for a missing or unusable key."""
    from wideseek_core.http import HttpClient  # slow to import, and no configuration needs it

    async with HttpClient(
        name, config, headers=headers, key_header=key_header, key_required=key_required
    ) as client:
        yield Service(client)


@contextmanager
def tool_errors() -> Generator[None]:
    """Turns a `ServiceError` of the block into the `ToolError` that agents get."""
    try:
        yield
    except ServiceError as error:
        raise tool_error(error) from None


def tool_error(error: ServiceError, *, is_page: bool = False) -> ToolError:
    """What a service's failure means to an agent: a request to change, or a service to wait for.

    For a reader of pages a 404 or 410 is about the page.
    """
    if _ACCOUNT.search(f"{error} {error.body}"):
        return ToolUnavailable(str(error))
    if is_page and error.status in MISSING_STATUSES:
        return NoContent(str(error))
    if error.kind is ServiceFault.TOO_LARGE:
        return ToolRefused(str(error))
    refused = error.status in REFUSED_STATUSES if error.status else False
    if refused or (error.kind is ServiceFault.REFUSED and error.status is None):
        return ToolRefused(str(error))
    return ToolUnavailable(str(error))


def results_at(*path: str, empty_if: str = "") -> Check:
    """A check that an answer holds the list of results at `path`.

    An answer without results that reports an error is a failure of the service, as is one that has
    neither the list nor the field `empty_if`, by which a service says that it found nothing.
    """

    def check(answer: JsonValue) -> None:
        results: JsonValue = answer
        for name in path:
            results = results.get(name) if isinstance(results, dict) else None
        if isinstance(results, list) and results:
            return
        if problem := reported_problem(answer):
            raise failure(problem, _code(answer))
        if not isinstance(results, list) and not (isinstance(answer, dict) and empty_if in answer):
            raise ServiceError(
                f"an answer of an unknown shape: no list {'.'.join(path)}",
                kind=ServiceFault.NOT_JSON,
            )

    return check


def failure(problem: str, status: int = 0) -> ServiceError:
    """A failure that a service reports inside a 200; `status` is what it gives as its reason."""
    can_pass = status in PASSING_STATUSES
    kind = ServiceFault.STATUS if can_pass or not status else ServiceFault.REFUSED
    return ServiceError(problem, kind=kind, status=status or 200, can_pass=can_pass)


def reported_problem(answer: JsonValue) -> str:
    """The error that an answer reports in one of the usual fields; empty if it reports none."""
    if not isinstance(answer, dict):
        return ""
    for name in ("error", "errors", "detail", "message"):
        if value := answer.get(name):
            if isinstance(value, dict):
                value = reported_problem(value) or json.dumps(value, ensure_ascii=False)
            return f"reports {value if isinstance(value, str) else json.dumps(value)}"[:300]
    return ""


def _code(answer: JsonValue) -> int:
    """The status that an answer gives for its own failure; 0 if it gives none."""
    if not isinstance(answer, dict):
        return 0
    for name in ("code", "status", "statusCode", "status_code"):
        value = answer.get(name)
        text = str(value) if isinstance(value, int | str) else ""
        if re.fullmatch("[45][0-9][0-9]", text):
            return int(text)
    inner = answer.get("error", answer.get("detail"))
    return _code(inner) if isinstance(inner, dict) else 0


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
    return [item for item in value if isinstance(item, dict)]


def string(item: Mapping[str, JsonValue], name: str) -> str:
    """A string field; empty if it is absent or no string."""
    value = item.get(name)
    return value if isinstance(value, str) else ""


def number(item: Mapping[str, JsonValue], name: str) -> float:
    """A finite number; 0 if the field is absent or holds anything else."""
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        found = float(value)
    except OverflowError:
        return 0.0
    return found if abs(found) < float("inf") else 0.0
