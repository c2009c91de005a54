"""Opens the judge of a run, and finds out at once if nobody serves its endpoint."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from wideseek_core import Judge, JudgeError, Policy
from wideseek_core.errors import ServiceError, ServiceFault
from wideseek_core.http import HttpClient
from wideseek_judge import JudgeConfig, open_judge

REACH_S = 30.0
"""Timeout of the look whether somebody serves the endpoint."""


@asynccontextmanager
async def open_reachable_judge(
    config: JudgeConfig, policy: Policy | None = None
) -> AsyncGenerator[Judge]:
    """The judge of a configuration. Raises `JudgeError` for an endpoint that nobody serves.

    `policy` judges in place of the endpoint.
    """
    if config.kind == "llm" and policy is None:
        await _reach(config)
    async with open_judge(config, policy) as judge:
        yield judge


async def _reach(config: JudgeConfig) -> None:
    once = config.endpoint.model_copy(update={"max_attempts": 1, "timeout_s": REACH_S})
    try:
        async with HttpClient(
            f"judge.endpoint {once.base_url}", once, key_required=False
        ) as client:
            await client.request("GET", "/models")
    except ServiceError as error:
        # Any other fault may be one of this path alone: the first verdict shows it.
        if error.kind is ServiceFault.CONNECT:
            raise JudgeError(f"{error}; set judge.endpoint.base_url") from None
