import pytest
import torch

from wideseek_rl import LossConfig
from wideseek_rl.trainers.head import HeadOptions, chunked_logprobs, chunked_loss, spans
from wideseek_rl.trainers.loss import LossInputs, LossOutputs, policy_loss

TOKENS, WIDTH, VOCABULARY = 23, 8, 31


def numbers(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(TOKENS, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(0, VOCABULARY, (TOKENS,), generator=generator)
    return states, weight, targets


def plainly(
    states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    logp = (states.float() @ weight.float().t() / temperature).log_softmax(-1)
    return logp.gather(-1, targets[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


@pytest.mark.parametrize("entropy_grad", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("tokens", [1, 5, 100])
def test_chunks_have_the_values_and_gradients_of_the_whole(
    entropy_grad: bool, temperature: float, tokens: int
) -> None:
    states, weight, targets = numbers()
    options = HeadOptions(
        temperature=temperature, entropy_grad=entropy_grad, max_logits=tokens * VOCABULARY
    )
    factor = torch.linspace(-1, 2, TOKENS)
    found = chunked_logprobs(states, weight, targets, options)
    wanted = plainly(states, weight, targets, temperature)
    torch.testing.assert_close(found, wanted)

    def total(logprobs: torch.Tensor, entropies: torch.Tensor) -> torch.Tensor:
        both = (logprobs * factor).sum()
        return both + (entropies * factor**2).sum() if entropy_grad else both

    gradients = torch.autograd.grad(total(*found), (states, weight))
    torch.testing.assert_close(
        gradients, torch.autograd.grad(total(*wanted), (states, weight)), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("entropy", [0.0, 0.1])
def test_a_loss_in_chunks_has_the_gradient_of_the_loss_at_once(entropy: float) -> None:
    states, weight, targets = numbers()
    config = LossConfig(kl=0.1, entropy=entropy)
    generator = torch.Generator().manual_seed(1)
    old, advantages, weights, reference = (
        torch.randn(TOKENS, generator=generator) for _ in range(4)
    )
    old = plainly(states, weight, targets, 1.0)[0].detach() + 0.3 * old

    def loss(logprobs: torch.Tensor, entropies: torch.Tensor, span: slice) -> LossOutputs:
        inputs = LossInputs(
            logprobs=logprobs,
            old_logprobs=old[span],
            advantages=advantages[span],
            weights=weights[span],
            entropy=entropies,
            reference_logprobs=reference[span] - 3,
        )
        return policy_loss(inputs, config)

    options = HeadOptions(entropy_grad=entropy > 0, max_logits=4 * VOCABULARY)
    outputs, logprobs = chunked_loss(states, weight, targets, options, loss)
    found = torch.autograd.grad(3 * outputs.loss, (states, weight))
    values, entropies = plainly(states, weight, targets, 1.0)
    whole = loss(values, entropies if entropy else entropies.detach(), slice(None))
    wanted = torch.autograd.grad(3 * whole.loss, (states, weight))
    torch.testing.assert_close(outputs.loss, whole.loss)
    torch.testing.assert_close(outputs.sums, whole.sums, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logprobs, values.detach())
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [
        (0, 10, []),
        (7, 100, [7]),
        (32_761, 3533, [3328] * 9 + [2809]),
        (300, 200, [200, 100]),  # two halves would be 256 tokens, which are too many
        (300, 260, [256, 44]),
        (10, 4, [4, 4, 2]),
        (256, 128, [128, 128]),
    ],
)
def test_chunks_are_few_and_suit_the_tiles_of_products(
    count: int, size: int, lengths: list[int]
) -> None:
    found = spans(count, size)
    assert [span.stop - span.start for span in found] == lengths
    assert [span.start for span in found[1:]] == [span.stop for span in found[:-1]]


def test_a_token_without_gradient_adds_none_though_its_logits_are_not_finite() -> None:
    states, weight, targets = numbers()
    with torch.no_grad():
        states[4] = float("nan")

    def loss(logprobs: torch.Tensor, entropies: torch.Tensor, span: slice) -> LossOutputs:
        good = torch.isfinite(logprobs)
        value = torch.where(good, logprobs, 0.0).sum()
        return LossOutputs(loss=value, sums=torch.zeros(1))

    outputs, _ = chunked_loss(states, weight, targets, HeadOptions(), loss)
    (gradient,) = torch.autograd.grad(outputs.loss, states)
    assert bool((gradient[4] == 0).all())
    assert bool(torch.isfinite(gradient).all())


def test_no_tensor_of_all_logits_is_kept_for_the_backward_pass() -> None:
    states, weight, targets = numbers()
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    def loss(logprobs: torch.Tensor, entropies: torch.Tensor, span: slice) -> LossOutputs:
        return LossOutputs(loss=logprobs.sum(), sums=torch.zeros(1))

    options = HeadOptions(max_logits=4 * VOCABULARY)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        chunked_loss(states, weight, targets, options, loss)
        chunked_logprobs(states, weight, targets, options)
    assert 0 < max(kept) <= VOCABULARY * WIDTH < TOKENS * VOCABULARY
