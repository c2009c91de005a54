import asyncio

import pytest

from wideseek_core import Usage
from wideseek_core.usage import (
    Price,
    agents_tokens,
    report_usage,
    token_count,
    total_usage,
    watched_usage,
)


@pytest.mark.parametrize(
    ("usage", "count"),
    [
        ({"prompt_tokens": 7}, 7),
        ({"input_tokens": "12"}, 12),
        ({"prompt_tokens": None, "input_tokens": 3.0}, 3),
        ({"prompt_tokens": True}, None),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": float("nan")}, None),
        ({"prompt_tokens": 1e30}, None),
        ({"prompt_tokens": "many"}, None),
        ([1], None),
        (None, None),
    ],
)
def test_tokens_are_read_from_whatever_a_server_says(usage: object, count: int | None) -> None:
    assert token_count(usage, "prompt_tokens", "input_tokens") == count


def test_usage_is_summed_by_role_and_model() -> None:
    lead, judge = Usage(role="lead", model="a", requests=1), Usage(role="judge", model="b")
    parts = [lead, judge, Usage(role="lead", model="a", requests=2, prompt_tokens=5, cost=0.5)]
    assert total_usage(parts) == (
        judge,
        Usage(role="lead", model="a", requests=3, prompt_tokens=5, cost=0.5),
    )


def test_a_price_is_for_a_million_tokens() -> None:
    assert Price(prompt=2.0, response=10.0).cost(500_000, 100_000) == 2.0


async def test_who_watches_rollouts_knows_what_they_have_spent_at_any_time() -> None:
    spent = [1, 10, 100]

    def begin(number: int) -> None:
        report_usage(lambda: (Usage(role="lead", model="", response_tokens=spent[number]),))

    async def beside(number: int) -> None:
        begin(number)
        await asyncio.sleep(0)

    with watched_usage() as outer:
        begin(0)
        with watched_usage() as inner:
            await asyncio.gather(beside(1), beside(2))
    begin(0)  # nobody watches any more
    assert [agents_tokens(watch.usage()) for watch in (outer, inner)] == [111, 110]
    spent[2] = 200
    assert [agents_tokens(watch.usage()) for watch in (outer, inner)] == [211, 210]


def test_summaries_and_judges_are_no_agents() -> None:
    roles = ("lead", "subagent", "single", "summary", "judge")
    usage = [Usage(role=role, model="", response_tokens=2**n) for n, role in enumerate(roles)]
    assert agents_tokens(usage) == 7
