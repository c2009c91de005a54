import pytest

from wideseek_core import Usage
from wideseek_core.usage import Price, token_count, total_usage


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
