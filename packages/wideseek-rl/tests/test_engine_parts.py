import random

import pytest
import torch

from wideseek_core import Sampling
from wideseek_rl.engines.builtin.attention import attend, attention_metadata
from wideseek_rl.engines.builtin.block_pool import BLOCK_SIZE, BlockPool
from wideseek_rl.engines.builtin.engine import TorchEngine, sampling_dtype
from wideseek_rl.engines.builtin.prefix_cache import (
    CachedSequence,
    PrefixCache,
    block_hashes,
    common_prefix,
)
from wideseek_rl.engines.builtin.sampling import invert, nucleus
from wideseek_rl.models.config import DecoderConfig
from wideseek_rl.models.decoder import new_model

SHAPE = DecoderConfig(
    vocab_size=31, hidden_size=16, layers=2, heads=4, kv_heads=2, head_dim=8, ffn_size=16
)


def pool(count: int) -> BlockPool:
    return BlockPool(SHAPE, count, torch.float32, torch.device("cpu"))


def test_a_draw_picks_the_token_at_which_the_cumulative_probability_passes_it() -> None:
    logp = torch.tensor([0.25, 0.0, 0.5, 0.25]).log().expand(6, 4)
    draws = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1.0])
    assert invert(logp, draws).tolist() == [0, 0, 2, 2, 3, 3]  # pyright: ignore[reportUnknownMemberType]


def test_a_token_of_probability_zero_is_never_drawn() -> None:
    logp = torch.tensor([[0.5, 0.5, 0.0]]).log()
    assert invert(logp, torch.tensor([1.0 - 2**-24])).item() == 1
    assert invert(torch.tensor([[0.0, 1.0]]).log(), torch.tensor([0.0])).item() == 1
    # Of e^-90, a float32 would keep some digits, slowly.
    assert invert(torch.tensor([[-90.0, 0.0]]), torch.tensor([0.0])).item() == 1


@pytest.mark.parametrize(("fast", "auto"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_sampling_dtype_is_fast_where_the_cpu_is(fast: bool, auto: torch.dtype) -> None:
    model = new_model(SHAPE, 0)
    assert sampling_dtype(model, "auto", fast_bfloat16=fast) == auto
    assert sampling_dtype(model, "model", fast_bfloat16=fast) == torch.float32
    assert sampling_dtype(model, "bfloat16", fast_bfloat16=fast) == torch.bfloat16
    half = model.to(torch.bfloat16)
    assert sampling_dtype(half, "float32", fast_bfloat16=fast) == torch.float32


def test_the_nucleus_keeps_the_fewest_likely_tokens_that_reach_top_p() -> None:
    logp = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log()
    for top_p, wanted in (
        (0.4, [0.0, 1.0, 0.0, 0.0]),
        (0.6, [0.0, 2 / 3, 0.0, 1 / 3]),
        (0.8, [0.0, 5 / 9, 1.5 / 9, 2.5 / 9]),
        (1.0, [0.1, 0.5, 0.15, 0.25]),
    ):
        kept = nucleus(logp, torch.tensor([top_p])).exp()
        assert torch.allclose(kept, torch.tensor([wanted]), atol=1e-6)


async def test_logprobs_under_top_p_are_those_of_the_nucleus() -> None:
    model = new_model(SHAPE, 0)
    with torch.no_grad():
        model.output_weight.mul_(30)
    ids = [3, 4, 5]
    engine = TorchEngine(model)
    for index in range(20):
        sampling = Sampling(top_p=0.5, max_tokens=1)
        made = await engine.generate(ids, session=str(index), sampling=sampling)
        with torch.no_grad():
            logits = model.logits(model.hidden(torch.tensor([ids]), torch.tensor([3])))[0, -1]
        kept = nucleus(logits.log_softmax(-1)[None], torch.tensor([0.5]))[0]
        assert made.logprobs[0] == pytest.approx(kept[made.ids[0]].item(), abs=1e-4)


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [([], [1], 0), ([1], [2], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3, 4], [1, 2, 9, 4], 2)],
)
def test_common_prefixes_are_counted(a: list[int], b: list[int], length: int) -> None:
    assert common_prefix(a, b) == common_prefix(b, a) == length


def test_common_prefixes_of_long_lists_are_found_at_any_place() -> None:
    ids = [random.Random(0).randrange(9) for _ in range(200)]
    for place in range(200):
        assert common_prefix(ids, [*ids[:place], 99, *ids[place + 1 :]]) == place


def test_the_longest_shared_prefix_is_found_until_its_owner_is_forgotten() -> None:
    store, ids = PrefixCache(), list(range(5 * BLOCK_SIZE))
    short, long = CachedSequence(ids[: 2 * BLOCK_SIZE]), CachedSequence(ids)
    for cached in (short, long):
        cached.filled = len(cached.ids)
        store.index(cached)
    assert store.with_prefix(block_hashes(ids[: 4 * BLOCK_SIZE])) is long
    assert store.with_prefix(block_hashes([*ids[: 2 * BLOCK_SIZE], *[7] * BLOCK_SIZE])) is short
    assert store.with_prefix(block_hashes(ids[: BLOCK_SIZE - 1])) is None
    store.forget(long)
    assert store.with_prefix(block_hashes(ids)) is short


def test_the_session_idle_longest_goes_first() -> None:
    store = PrefixCache()
    a, b, c = CachedSequence([1]), CachedSequence([2]), CachedSequence([3])
    for name, cached in (("a", a), ("b", b), ("c", c)):
        assert store.put(name, cached) is None
    assert store.put("a", a) is a
    assert [store.pop_oldest() for _ in range(4)] == [b, c, a, None]


def test_blocks_are_free_again_when_the_last_user_lets_go() -> None:
    blocks = pool(3)
    taken = blocks.take(2)
    assert blocks.share(taken[:1]) == taken[:1]
    assert blocks.shared(taken[0])
    assert not blocks.shared(taken[1])
    blocks.release(taken)
    assert blocks.free == 2
    blocks.release(taken[:1])
    assert blocks.free == 3
    assert 0 not in blocks.take(3)


@pytest.mark.parametrize("bags", [True, False])
def test_attention_over_scattered_blocks_equals_softmax_attention(bags: bool) -> None:
    blocks = pool(9)
    generator = torch.Generator().manual_seed(0)
    blocks.keys.normal_(generator=generator)
    blocks.values.normal_(generator=generator)
    tables, lengths = [[5, 2, 9], [7], [1, 4, 3]], [2 * BLOCK_SIZE + 3, BLOCK_SIZE, BLOCK_SIZE + 1]
    q = torch.randn(3, 4, 8, generator=generator)
    metadata = attention_metadata(SHAPE, tables, lengths, blocks.keys)
    if not bags:
        metadata = type(metadata)(metadata.block_table, metadata.mask, None)
    found = attend(q, blocks.keys[1], blocks.values[1], metadata)
    for row, (table, length) in enumerate(zip(tables, lengths, strict=True)):
        for head in range(4):
            keys = torch.cat([blocks.keys[1, block, head // 2].t() for block in table])[:length]
            values = torch.cat([blocks.values[1, block, head // 2] for block in table])[:length]
            wanted = (keys @ q[row, head]).softmax(0) @ values
            assert torch.allclose(found[row, head], wanted, atol=1e-5)
