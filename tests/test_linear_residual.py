"""The theorem of Hardt and Ma holds in all cases tried, and would not with another constant."""

import pytest
import torch

from dlopt.linear_residual import LinearResidual, PlainLinear


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, g):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def layers(depth, d, tau, g):
    """Random ones, the largest of spectral norm τ."""
    A = normal(depth, d, d, g=g)
    if torch.rand((), generator=g) < 0.3:  # near to the worst case, -τI
        A = -torch.eye(d, dtype=torch.float64) + 0.1 * torch.rand((), generator=g) * A
    return tau * A / torch.linalg.matrix_norm(A, 2).amax()


def cases(count, seed):
    """Random networks of depths 1 to 12, targets of any kind, covariances from round to narrow."""
    g = seeded(seed)
    for _ in range(count):
        depth, d = (int(torch.randint(1, n, (), generator=g)) for n in (13, 8))
        X = normal(d, 2 * d, g=g)
        round_, narrow = torch.eye(d, dtype=torch.float64), X @ X.mT / (2 * d)
        covariance = round_ if torch.rand((), generator=g) < 0.5 else narrow
        target = normal(d, d, g=g) * torch.randn((), generator=g, dtype=torch.float64).exp()
        tau = float(torch.rand((), generator=g))
        yield LinearResidual(target, covariance), layers(depth, d, tau, g)


def slack(f, A):
    """How many times as large as its bound the squared gradient is."""
    return float(f.gradient(A).square().sum() / f.bound(A))


def test_the_bound_holds_in_a_thousand_of_a_thousand_cases():
    slacks = torch.tensor([slack(f, A) for f, A in cases(1000, 0)])
    assert int((slacks >= 1 - 1e-9).sum()) == 1000
    assert slacks.min() < 1.5  # and it is nearly reached in some


@pytest.mark.parametrize("depth", [1, 2, 5, 20])
@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_the_bound_is_sharp(depth, tau):
    """In the worst case both sides are equal, so that no larger constant would be right."""
    g = seeded(0)
    identity = torch.eye(5, dtype=torch.float64)
    f = LinearResidual(normal(5, 5, g=g), 3 * identity)
    assert slack(f, -tau * identity.expand(depth, 5, 5)) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tau, depth: 1.01,
        lambda tau, depth: (1 - tau) ** -1,
        lambda tau, depth: (1 - tau) ** (2 - 2 * depth),
        lambda tau, depth: depth,
    ],
    ids=["1 % more", "a factor less", "no (1 - tau)", "L squared"],
)
def test_another_constant_is_violated(wrong):
    identity = torch.eye(4, dtype=torch.float64)
    f = LinearResidual(normal(4, 4, g=seeded(0)), identity)
    assert slack(f, -0.5 * identity.expand(6, 4, 4)) < wrong(0.5, 6)


@pytest.mark.parametrize("kind", [PlainLinear, LinearResidual])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_value_and_gradient(kind, depth):
    """The value is the mean over inputs, the gradient is that of automatic differentiation."""
    g = seeded(0)
    X = normal(4, 50, g=g)
    f = kind(normal(4, 4, g=g), X @ X.mT / 50)
    A = 0.3 * normal(depth, 4, 4, g=g)
    H = X
    for layer in A:
        H = layer @ H + (H if kind is LinearResidual else 0)
    expected = (H - f.target @ X).square().sum(0).mean()
    torch.testing.assert_close(f.value(A), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(f.product(A) @ X, H, rtol=1e-12, atol=1e-12)
    slope = torch.func.grad(f.value)(A)
    torch.testing.assert_close(f.gradient(A), slope, rtol=1e-10, atol=1e-12)


def test_a_plain_network_is_stuck_at_0_and_one_with_skips_is_not():
    f = normal(5, 5, g=seeded(0)), torch.eye(5, dtype=torch.float64)
    A = torch.zeros(3, 5, 5, dtype=torch.float64)
    plain, residual = PlainLinear(*f), LinearResidual(*f)
    assert plain.value(A) > 10 and not plain.gradient(A).any()
    assert residual.bound(A) > 100 and slack(residual, A) == pytest.approx(1)
    one = PlainLinear(*f).gradient(A[:1])  # a single layer is not stuck
    assert one.any()


def test_from_norm_1_on_the_bound_says_nothing():
    f = LinearResidual(torch.eye(2), torch.eye(2))
    A = torch.stack([-torch.eye(2), -2 * torch.eye(2)])
    assert f.value(A) > 0 and f.bound(A) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vmap_computes_what_each_alone_does(dtype):
    f = LinearResidual(torch.eye(3, dtype=dtype) * 2, torch.eye(3, dtype=dtype))
    A = 0.1 * torch.randn(4, 6, 3, 3, generator=seeded(0), dtype=dtype)
    for function in (f.value, f.gradient, f.bound, f.product):
        together = torch.vmap(function)(A)
        torch.testing.assert_close(together, torch.stack([function(one) for one in A]))
        assert together.dtype == dtype


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: PlainLinear(torch.zeros(2, 3), torch.eye(2)), r"target .* got \(2, 3\)"),
        (lambda f: PlainLinear(torch.eye(2), torch.eye(3)), r"covariance .* got \(3, 3\)"),
        (lambda f: f.value(torch.zeros(2, 2)), r"A must have shape \(L, 2, 2\), .* got \(2, 2\)"),
        (lambda f: f.gradient(torch.zeros(0, 2, 2)), r"got \(0, 2, 2\)"),
        (lambda f: f.bound(torch.zeros(2, 3, 3)), r"got \(2, 3, 3\)"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(LinearResidual(torch.eye(2), torch.eye(2)))
