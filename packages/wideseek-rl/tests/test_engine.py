import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from wideseek_core import ConfigError, ContextOverflow, Finish, PolicyError, Sampling
from wideseek_core.repetition import repeats_at_end
from wideseek_core.testing import until
from wideseek_rl.engines.builtin.block_pool import BLOCK_SIZE
from wideseek_rl.engines.builtin.config import BuiltinEngineConfig
from wideseek_rl.engines.builtin.engine import TorchEngine
from wideseek_rl.models.config import DecoderConfig, RopeConfig
from wideseek_rl.models.decoder import Decoder, new_model

EOS = 2


def tiny(seed: int = 0, eos: tuple[int, ...] = (EOS,), **changes: Any) -> Decoder:
    config = DecoderConfig(
        vocab_size=97,
        hidden_size=48,
        layers=3,
        heads=4,
        kv_heads=2,
        head_dim=16,
        ffn_size=80,
        eos_ids=eos,
        **changes,
    )
    model = new_model(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # Larger than at the start of training: what is attended to must change the outcome.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
            else:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def prompt(seed: int, length: int) -> list[int]:
    chooser = random.Random(seed)
    return [chooser.randrange(3, 97) for _ in range(length)]


@torch.no_grad()
def true_logprobs(
    model: Decoder, ids: list[int], response: tuple[int, ...], temperature: float = 1.0
) -> list[float]:
    tokens = torch.tensor([[*ids, *response]])
    logits = model.logits(model.hidden(tokens, torch.tensor([tokens.shape[1]])))[0]
    logp = (logits / temperature).log_softmax(-1)
    return [logp[len(ids) + i - 1, token].item() for i, token in enumerate(response)]


def assert_close(found: tuple[float, ...], wanted: list[float]) -> None:
    assert len(found) == len(wanted)
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < 1e-4


async def talk(
    engine: TorchEngine, model: Decoder, session: str, seed: int, system: list[int]
) -> list[tuple[int, ...]]:
    """Three turns; checks every logprob against a full forward pass."""
    ids, responses = [*system, *prompt(seed, 5 + 17 * (seed % 7))], list[tuple[int, ...]]()
    for turn in range(3):
        sampling = Sampling(max_tokens=3 + 11 * ((seed + turn) % 4))
        made = await engine.generate(ids, session=session, sampling=sampling)
        assert_close(made.logprobs, true_logprobs(model, ids, made.ids))
        responses.append(made.ids)
        ids = [*ids, *made.ids, *prompt(seed + 1000 * turn, 4 + 9 * (seed % 3))]
    await engine.close_session(session)
    return responses


async def test_logprobs_of_concurrent_sessions_equal_a_full_forward_pass() -> None:
    model, system = tiny(), prompt(5, 70)
    engine = TorchEngine(model, BuiltinEngineConfig(max_batch=6, max_step_tokens=50))
    await asyncio.gather(*(talk(engine, model, f"s{i}", i, system) for i in range(14)))


@pytest.mark.parametrize(
    "switches",
    [
        {"family": "llama", "qk_norm": False},
        {"family": "llama", "qk_norm": False, "output_bias": True, "mlp_bias": True},
        {"family": "qwen2", "qk_norm": False, "qkv_bias": True, "tied_embeddings": False},
        {"rope": RopeConfig(kind="yarn", factor=4.0, original_positions=64)},
    ],
)
async def test_models_of_other_families_are_sampled_from(switches: dict[str, Any]) -> None:
    model, system = tiny(**switches), prompt(5, 70)
    engine = TorchEngine(model, BuiltinEngineConfig(max_batch=6, max_step_tokens=50))
    await asyncio.gather(*(talk(engine, model, f"s{i}", i, system) for i in range(4)))


def test_sliding_windows_are_refused() -> None:
    with pytest.raises(ConfigError, match="sliding-window"):
        TorchEngine(tiny(sliding_window=8, sliding_layers=(1,)))


async def test_responses_do_not_depend_on_the_rest_of_the_batch() -> None:
    model, system = tiny(), prompt(5, 40)
    crowd = TorchEngine(model, BuiltinEngineConfig(max_batch=8))
    together = await asyncio.gather(*(talk(crowd, model, f"s{i}", i, system) for i in range(10)))
    engine = TorchEngine(model, BuiltinEngineConfig(share_prefixes=False))
    alone = [await talk(engine, model, f"s{i}", i, system) for i in range(10)]
    assert together == alone


async def test_logprobs_stay_true_when_memory_is_short() -> None:
    model, system = tiny(), prompt(5, 20)
    config = BuiltinEngineConfig(max_batch=8, max_cache_tokens=600)
    engine = TorchEngine(model, config)
    await asyncio.gather(*(talk(engine, model, f"s{i}", i, system) for i in range(12)))
    assert engine.cached_tokens <= 600


async def test_a_second_turn_computes_only_what_is_new() -> None:
    engine = TorchEngine(tiny(eos=()))
    ids = prompt(1, 100)
    first = await engine.generate(ids, session="a", sampling=Sampling(max_tokens=5))
    assert engine.computed_tokens == 100 + 4
    ids = [*ids, *first.ids, *prompt(2, 10)]
    await engine.generate(ids, session="a", sampling=Sampling(max_tokens=5))
    assert engine.computed_tokens == 100 + 4 + (1 + 10) + 4


async def test_a_prompt_that_is_no_extension_is_computed_from_where_it_differs() -> None:
    model = tiny(eos=())
    engine = TorchEngine(model)
    ids = prompt(1, 100)
    await engine.generate(ids, session="a", sampling=Sampling(max_tokens=5))
    other = [*ids[:60], *prompt(9, 30)]
    made = await engine.generate(other, session="a", sampling=Sampling(max_tokens=5))
    assert_close(made.logprobs, true_logprobs(model, other, made.ids))
    assert engine.computed_tokens == 104 + 30 + 4


async def test_equal_prompts_that_arrive_together_are_computed_once() -> None:
    model = tiny(eos=())
    engine = TorchEngine(model)
    ids, one = prompt(1, 320), Sampling(max_tokens=1)
    made = await asyncio.gather(
        *(engine.generate(ids, session=f"s{i}", sampling=one) for i in range(8))
    )
    assert engine.computed_tokens == 320 + 7
    for reply in made:
        assert_close(reply.logprobs, true_logprobs(model, ids, reply.ids))
    assert len({reply.ids for reply in made}) > 1


async def test_a_closed_session_leaves_no_cache() -> None:
    engine = TorchEngine(tiny(eos=()))
    ids, one = prompt(1, 100), Sampling(max_tokens=1)
    await engine.generate(ids, session="a", sampling=one)
    await engine.close_session("a")
    await engine.close_session("a")
    await engine.generate(ids, session="b", sampling=one)
    assert engine.computed_tokens == 200


async def test_greedy_takes_the_likeliest_token() -> None:
    model = tiny(eos=())
    ids = prompt(3, 30)
    greedy = Sampling(temperature=0, max_tokens=6)
    made = await TorchEngine(model).generate(ids, session="a", sampling=greedy)
    tokens = torch.tensor([[*ids, *made.ids]])
    with torch.no_grad():
        best = model.logits(model.hidden(tokens, torch.tensor([36])))[0].argmax(-1)
    assert torch.equal(best[29:35], torch.tensor(made.ids))
    assert_close(made.logprobs, true_logprobs(model, ids, made.ids))


async def test_logprobs_are_those_of_the_tempered_distribution() -> None:
    model, ids = tiny(), prompt(3, 30)
    warm = Sampling(temperature=0.6, max_tokens=20)
    made = await TorchEngine(model).generate(ids, session="a", sampling=warm)
    assert_close(made.logprobs, true_logprobs(model, ids, made.ids, temperature=0.6))


async def test_the_end_token_ends_a_response_and_belongs_to_it() -> None:
    ids = prompt(3, 30)
    free = TorchEngine(tiny(eos=()))
    made = await free.generate(ids, session="a", sampling=Sampling(max_tokens=8))
    assert (len(made.ids), made.finish) == (8, Finish.LENGTH)
    end = made.ids[4]
    assert end not in made.ids[:4]
    stopped = await TorchEngine(tiny(eos=(end,))).generate(
        ids, session="a", sampling=Sampling(max_tokens=8)
    )
    assert (stopped.ids, stopped.finish) == (made.ids[:5], Finish.STOP)


async def test_a_response_ends_where_the_context_ends() -> None:
    engine = TorchEngine(tiny(eos=()), BuiltinEngineConfig(context_tokens=40))
    made = await engine.generate(prompt(1, 37), session="a", sampling=Sampling(max_tokens=9))
    assert (len(made.ids), made.finish) == (3, Finish.LENGTH)
    with pytest.raises(ContextOverflow, match="40"):
        await engine.generate(prompt(1, 40), session="a", sampling=Sampling())


@pytest.mark.parametrize(
    ("ids", "sampling", "reason"),
    [
        ([], Sampling(), "at least one"),
        ([5, 97], Sampling(), r"outside of 0\.\.96"),
        ([5], Sampling(max_tokens=0), "max_tokens"),
        ([5], Sampling(temperature=-1.0), "temperature -1"),
        ([5], Sampling(top_p=0.0), "top_p 0"),
    ],
)
async def test_requests_that_make_no_sense_are_refused(
    ids: list[int], sampling: Sampling, reason: str
) -> None:
    with pytest.raises(PolicyError, match=reason):
        await TorchEngine(tiny()).generate(ids, session="a", sampling=sampling)


async def test_a_request_that_can_never_fit_is_refused_and_others_go_on() -> None:
    engine = TorchEngine(tiny(eos=()), BuiltinEngineConfig(max_cache_tokens=256))
    few = Sampling(max_tokens=4)
    good, bad = await asyncio.gather(
        engine.generate(prompt(1, 100), session="a", sampling=few),
        engine.generate(prompt(2, 400), session="b", sampling=few),
        return_exceptions=True,
    )
    assert not isinstance(good, BaseException)
    assert isinstance(bad, PolicyError)
    assert "max_cache_tokens = 256" in str(bad)


async def test_new_weights_take_effect_after_a_reset() -> None:
    model, ids, few = tiny(), prompt(3, 50), Sampling(max_tokens=12)
    engine = TorchEngine(model)
    before = await engine.generate(ids, session="a", sampling=few)
    async with engine.paused():
        model.load_state_dict(tiny(seed=1).state_dict())
        engine.reset_cache()
        engine.version += 1
    after = await engine.generate(ids, session="a", sampling=few)
    assert (before.version, after.version) == (0, 1)
    assert_close(after.logprobs, true_logprobs(model, ids, after.ids))
    assert before.ids != after.ids


async def test_tokens_of_two_versions_are_told_apart() -> None:
    model, old, ids = tiny(eos=()), tiny(eos=()), prompt(3, 50)
    engine = TorchEngine(model)
    made = asyncio.create_task(engine.generate(ids, session="a", sampling=Sampling(max_tokens=900)))
    await until(lambda: engine.computed_tokens > 55)
    async with engine.paused():
        model.load_state_dict(tiny(seed=1, eos=()).state_dict())
        engine.reset_cache()
        engine.version = 5
    result = await made
    before, after = result.versions
    assert (before.version, after.version, after.end) == (0, 5, 900)
    assert before.end == after.start > 0
    assert result.version == 0
    assert_close(result.logprobs[: before.end], true_logprobs(old, ids, result.ids[: before.end]))
    given = [*ids, *result.ids[: after.start]]
    assert_close(
        result.logprobs[after.start :], true_logprobs(model, given, result.ids[after.start :])
    )


async def test_a_requests_own_seed_decides_its_draws() -> None:
    engine, ids = TorchEngine(tiny(eos=())), prompt(1, 20)

    async def sample(session: str, seed: int | None) -> tuple[int, ...]:
        sampling = Sampling(max_tokens=12, seed=seed)
        return (await engine.generate(ids, session=session, sampling=sampling)).ids

    assert await sample("a", 7) == await sample("b", 7)
    assert await sample("a", 7) != await sample("a", 8)
    assert await sample("a", None) != await sample("b", None)


async def test_a_stop_id_ends_a_response() -> None:
    engine, ids = TorchEngine(tiny(eos=())), prompt(1, 20)
    whole = await engine.generate(ids, session="a", sampling=Sampling(max_tokens=9, seed=1))
    stop = whole.ids[4]
    cut = await engine.generate(
        ids, session="a", sampling=Sampling(max_tokens=9, seed=1, stop_ids=(stop,))
    )
    assert cut.ids == whole.ids[: whole.ids.index(stop) + 1]
    assert (whole.finish, cut.finish) == (Finish.LENGTH, Finish.STOP)


async def test_requests_in_flight_survive_a_pause_and_a_reset() -> None:
    model, system = tiny(), prompt(5, 30)
    engine = TorchEngine(model, BuiltinEngineConfig(max_batch=4))
    talks = asyncio.gather(*(talk(engine, model, f"s{i}", i, system) for i in range(8)))
    for _ in range(5):
        await asyncio.sleep(0.01)
        async with engine.paused():
            engine.reset_cache()
    again = TorchEngine(model)
    calm = await asyncio.gather(*(talk(again, model, f"s{i}", i, system) for i in range(8)))
    assert await talks == calm


async def test_a_cancelled_request_leaves_the_batch() -> None:
    engine = TorchEngine(tiny(eos=()))
    endless = Sampling(max_tokens=20_000)
    task = asyncio.create_task(engine.generate(prompt(1, 9), session="a", sampling=endless))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    made = await engine.generate(prompt(2, 9), session="b", sampling=Sampling(max_tokens=3))
    assert len(made.ids) == 3


async def test_a_long_run_leaves_nothing_behind() -> None:
    model, system = tiny(), prompt(5, 40)
    engine = TorchEngine(model, BuiltinEngineConfig(max_batch=6, max_cache_tokens=800))
    endless = Sampling(max_tokens=20_000)
    for _ in range(3):
        lost = [
            asyncio.create_task(engine.generate(system, session=f"lost{i}", sampling=endless))
            for i in range(3)
        ]
        await asyncio.gather(*(talk(engine, model, f"s{i}", i, system) for i in range(10)))
        for task in lost:
            task.cancel()
        await asyncio.gather(*lost, return_exceptions=True)
        for i in range(3):
            await engine.close_session(f"lost{i}")
    # What was closed or cancelled has gone by the time that something later is answered.
    await engine.generate([3], session="last", sampling=Sampling(max_tokens=1))
    assert engine.cached_tokens == BLOCK_SIZE
    before = engine.computed_tokens
    await engine.generate(system, session="anew", sampling=Sampling(max_tokens=1))
    assert engine.computed_tokens == before + len(system)


async def test_a_failure_inside_reaches_the_caller_and_the_engine_recovers() -> None:
    model = tiny()
    engine = TorchEngine(model)
    few = Sampling(max_tokens=3)
    weights = model.model.embed_tokens.weight.data
    model.model.embed_tokens.weight.data = torch.zeros(1, 48)
    engine.reset_cache()
    with pytest.raises(PolicyError, match="sampling failed"):
        await engine.generate([50, 51], session="a", sampling=few)
    model.model.embed_tokens.weight.data = weights
    engine.reset_cache()
    made = await engine.generate([50, 51], session="a", sampling=few)
    assert_close(made.logprobs, true_logprobs(model, [50, 51], made.ids))


def test_an_engine_outlives_its_event_loop() -> None:
    engine = TorchEngine(tiny(eos=()))
    few = Sampling(max_tokens=3)

    async def once() -> tuple[int, ...]:
        made = await engine.generate(prompt(1, 20), session="a", sampling=few)
        return made.ids

    assert asyncio.run(once()) == asyncio.run(once())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
async def test_logprobs_on_a_gpu_equal_those_on_the_cpu() -> None:
    model, moved = tiny(), tiny().cuda()
    ids, few = prompt(1, 150), Sampling(max_tokens=20)
    engine = TorchEngine(moved)
    for turn in range(3):
        made = await engine.generate(ids, session="a", sampling=few)
        assert_close(made.logprobs, true_logprobs(model, ids, made.ids))
        ids = [*ids, *made.ids, *prompt(turn, 12)]


async def test_a_response_that_repeats_itself_ends_early() -> None:
    model = tiny(eos=())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "o_proj" in name:  # what follows a token depends on that token alone: a loop
                parameter.zero_()
    engine = TorchEngine(model, BuiltinEngineConfig())
    asked = Sampling(temperature=0.0, max_tokens=400)
    free = await engine.generate(prompt(1, 9), session="free", sampling=asked)
    limited = replace(asked, max_repeats=3)
    early = await engine.generate(prompt(1, 9), session="limited", sampling=limited)
    few = replace(asked, max_tokens=30)
    after = await engine.generate([*prompt(1, 9), *early.ids, 5], session="limited", sampling=few)
    assert len(free.ids) == 400
    repeats = repeats_at_end(free.ids, 3)
    assert repeats is not None
    assert len(early.ids) < 300
    assert early.ids == free.ids[: len(early.ids)]
    assert early.finish is Finish.LENGTH
    assert repeats_at_end(early.ids, 3) == repeats
    assert_close(after.logprobs, true_logprobs(model, [*prompt(1, 9), *early.ids, 5], after.ids))
    without = [*prompt(1, 9), *early.ids[: repeats.end_of_first], 5]
    after = await engine.generate(without, session="limited", sampling=few)
    assert_close(after.logprobs, true_logprobs(model, without, after.ids))
