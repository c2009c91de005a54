import random

import pytest
import torch

from wideseek_core import Sampling
from wideseek_rl.engines.builtin import engine as torch_engine
from wideseek_rl.engines.builtin.attention import attend, reading
from wideseek_rl.engines.builtin.block_pool import BLOCK_SIZE, BlockPool
from wideseek_rl.engines.builtin.engine import TorchEngine, sampling_dtype
from wideseek_rl.engines.builtin.prefix_cache import (
    BLOCK,
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


def test_the_sampling_dtype_is_fast_where_the_cpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_model(SHAPE, 0)
    for native, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch_engine, "native_bfloat16", lambda found=native: found)
        assert sampling_dtype(model, "auto") == wanted
        assert sampling_dtype(model, "model") == torch.float32
        assert sampling_dtype(model, "bfloat16") == torch.bfloat16
        assert sampling_dtype(model.to(torch.bfloat16), "float32") == torch.float32
        model.to(torch.float32)


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
    store, ids = PrefixCache(), list(range(5 * BLOCK))
    short, long = CachedSequence(ids[: 2 * BLOCK]), CachedSequence(ids)
    for cached in (short, long):
        cached.filled = len(cached.ids)
        store.index(cached)
    assert store.with_prefix(block_hashes(ids[: 4 * BLOCK])) is long
    assert store.with_prefix(block_hashes([*ids[: 2 * BLOCK], *[7] * BLOCK])) is short
    assert store.with_prefix(block_hashes(ids[: BLOCK - 1])) is None
    store.forget(long)
    assert store.with_prefix(block_hashes(ids)) is short


def test_the_session_idle_longest_goes_first() -> None:
    store = PrefixCache()
    a, b, c = CachedSequence([1]), CachedSequence([2]), CachedSequence([3])
    for name, cached in (("a", a), ("b", b), ("c", c)):
        assert store.put(name, cached) is None
    assert store.put("a", a) is a
    assert [store.pop_oldest() for _ in range(4)] == [b, c, a, None]


def test_pages_are_free_again_when_the_last_user_lets_go() -> None:
    pages = pool(3)
    taken = pages.take(2)
    assert pages.share(taken[:1]) == taken[:1]
    assert pages.shared(taken[0])
    assert not pages.shared(taken[1])
    pages.release(taken)
    assert pages.free == 2
    pages.release(taken[:1])
    assert pages.free == 3
    assert 0 not in pages.take(3)


@pytest.mark.parametrize("bags", [True, False])
def test_attention_over_scattered_pages_equals_softmax_attention(bags: bool) -> None:
    pages = pool(9)
    generator = torch.Generator().manual_seed(0)
    pages.keys.normal_(generator=generator)
    pages.values.normal_(generator=generator)
    tables, lengths = [[5, 2, 9], [7], [1, 4, 3]], [2 * BLOCK_SIZE + 3, BLOCK_SIZE, BLOCK_SIZE + 1]
    q = torch.randn(3, 4, 8, generator=generator)
    read = reading(SHAPE, tables, lengths, pages.keys)
    if not bags:
        read = type(read)(read.pages, read.mask, None)
    found = attend(q, pages.keys[1], pages.values[1], read)
    for row, (table, length) in enumerate(zip(tables, lengths, strict=True)):
        for head in range(4):
            keys = torch.cat([pages.keys[1, page, head // 2].t() for page in table])[:length]
            values = torch.cat([pages.values[1, page, head // 2] for page in table])[:length]
            wanted = (keys @ q[row, head]).softmax(0) @ values
            assert torch.allclose(found[row, head], wanted, atol=1e-5)
