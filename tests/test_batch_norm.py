"""Batch normalization: its gradients, PyTorch's layers as oracle, and every mode."""

import copy
import gc
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

import dlopt
from dlopt.batch_norm import BatchNorm, batch_norm, batch_norm_backward
from dlopt.standardization import standardize

TIGHT = {"rtol": 1e-12, "atol": 1e-12}
THEIRS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def drawn(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def arguments(*shape):
    C = shape[1]
    return [v.requires_grad_() for v in (drawn(*shape), drawn(C, seed=1), drawn(C, seed=2))]


# --- The equations --------------------------------------------------------------------------------


def test_gamma_scales_and_beta_shifts():
    H, gamma, beta = drawn(6, 3), drawn(3, seed=1), drawn(3, seed=2)
    standard, mean, _, sigma = standardize(H, 0.1)
    expected = gamma * standard + beta
    torch.testing.assert_close(batch_norm(H, gamma, beta, 0.1), expected, **TIGHT)
    torch.testing.assert_close(batch_norm(H, sigma, mean, 0.1), H, **TIGHT)


# --- Gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.0, 1e-8, 0.1])
@pytest.mark.parametrize("shape", [(2, 3), (5, 3), (4, 3, 2), (2, 3, 2, 2)])
def test_first_and_second_derivatives_are_right(shape, delta):
    def f(*v):
        return batch_norm(*v, delta)

    assert gradcheck(f, arguments(*shape), check_batched_grad=True)
    assert gradgradcheck(f, arguments(*shape), check_batched_grad=True)


@pytest.mark.parametrize("delta", [0.0, 1e-8, 1e-4, 1e-1])
@pytest.mark.parametrize("shape", [(5, 3), (40, 3), (6, 3, 4)])
def test_the_gradient_proposes_neither_shift_nor_scale(shape, delta):
    """Σ ∂L/∂H = 0 and Σ H' ∂L/∂H = δ/σ³ Σ G H', to rounding; for γ = 1."""
    H, G, ones = drawn(*shape), drawn(*shape, seed=1), torch.ones(3, dtype=torch.float64)
    standard, _, _, sigma = standardize(H, delta)
    grad, along, _ = batch_norm_backward(G, standard, sigma, ones)
    axes = [0, *range(2, len(shape))]
    size = grad.abs().sum(axes)
    assert (grad.sum(axes).abs() <= 1e-12 * size).all()
    assert ((standard * grad).sum(axes) - delta / sigma**3 * along).abs().le(1e-12 * size).all()


@pytest.mark.parametrize("delta", [0.0, 1e-8, 1e-4, 1e-1])
def test_a_weight_is_moved_along_itself_by_delta_alone(delta):
    """For h = X w: w · ∂L/∂w = δ/σ² Σ G h', 0 for δ = 0: a step can only lengthen w."""
    X, G = drawn(30, 4), drawn(30, 1, seed=1)
    w = drawn(4, 1, seed=2).requires_grad_()
    ones = torch.ones(1, dtype=torch.float64)
    H = X @ w
    (grad,) = torch.autograd.grad(batch_norm(H, ones, 0 * ones, delta), w, G)
    standard, _, _, sigma = standardize(H, delta)
    expected = delta / float(sigma) ** 2 * float((G * standard).sum())
    size = float(w.detach().norm() * grad.norm())
    assert abs(float((w.detach() * grad).sum()) - expected) <= 1e-12 * size
    if delta == 0:
        lengths = [float(v.detach().norm()) ** 2 for v in (w - 0.1 * grad, w, 0.1 * grad)]
        assert lengths[0] == pytest.approx(lengths[1] + lengths[2], rel=1e-12)


def test_a_constant_feature_becomes_beta_with_a_right_gradient():
    H = torch.full((4, 1), 0.1, requires_grad=True)
    beta = torch.tensor([3.0])
    out = batch_norm(H, torch.ones(1), beta, 0.0)
    assert (out == 3).all()
    (grad,) = torch.autograd.grad(out, H, torch.arange(4.0)[:, None])
    assert not grad.any()
    out = batch_norm(H, torch.ones(1), beta, 1e-4)  # √δ is left: 100 (G − mean G)
    (grad,) = torch.autograd.grad(out, H, torch.arange(4.0)[:, None])
    torch.testing.assert_close(grad[:, 0], torch.tensor([-150.0, -50, 50, 150]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e30])
def test_gradients_are_right_where_squares_overflow(scale, dtype):
    H, G = drawn(50, 3, dtype=dtype), drawn(50, 3, dtype=dtype, seed=1)
    gamma, beta = torch.ones(3, dtype=dtype), torch.zeros(3, dtype=dtype)
    large = (scale * H).requires_grad_()
    (got,) = torch.autograd.grad(batch_norm(large, gamma, beta, 0.0), large, G)
    H.requires_grad_()
    (expected,) = torch.autograd.grad(batch_norm(H, gamma, beta, 0.0), H, G)
    eps = 50 * torch.finfo(dtype).eps
    torch.testing.assert_close(scale * got, expected, rtol=eps, atol=eps)


# --- PyTorch's layers -----------------------------------------------------------------------------


def converted(layer, theirs):
    """PyTorch's layer with the same settings and parameters."""
    theirs = theirs(layer.num_features, eps=layer.delta, momentum=1 - layer.decay).double()
    with torch.no_grad():
        theirs.weight.copy_(layer.gamma)
        theirs.bias.copy_(layer.beta)
    return theirs


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 9), st.integers(1, 6), st.lists(st.integers(1, 4), max_size=3),
    st.sampled_from([1e-12, 1e-8, 1e-5, 0.1]), st.sampled_from([0.0, 0.5, 0.9]), st.integers(0, 99),
)  # fmt: skip
def test_it_is_pytorchs_layer_from_the_first_step_on(m, C, positions, delta, decay, seed):
    shape = (m, C, *positions)
    layer = BatchNorm(C, delta, decay, dtype=torch.float64)
    with torch.no_grad():
        layer.gamma.copy_(drawn(C, seed=seed))
        layer.beta.copy_(drawn(C, seed=seed + 1))
    theirs = converted(layer, THEIRS[len(shape)])
    n = m * math.prod(positions)
    for step in range(1, 4):
        # Far enough from a constant feature, whose gradient magnifies rounding.
        x = drawn(*shape, seed=seed + step) + torch.arange(m).view(m, *[1] * (len(shape) - 1))
        G = drawn(*shape, seed=seed - step)
        ours, reference = x.clone().requires_grad_(), x.clone().requires_grad_()
        out, expected = layer(ours), theirs(reference)
        torch.testing.assert_close(out, expected, **TIGHT)
        got = torch.autograd.grad(out, [ours, *layer.parameters()], G)
        expected = torch.autograd.grad(expected, [reference, *theirs.parameters()], G)
        # What cancels in the gradient in H, of two examples nearly all, leaves its rounding.
        variance = x.transpose(0, 1).flatten(1).var(1, correction=0)
        terms = float(
            (layer.gamma.detach() / (variance + delta).sqrt()).abs().max() * G.abs().max()
        )
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12 * max(1.0, terms))
        torch.testing.assert_close(layer.running_mean, theirs.running_mean, **TIGHT)
        # Theirs follows the unbiased variance, but starts at 1, too: that share is not converted.
        start = decay**step
        unbiased = start + (layer.running_var - start) * n / (n - 1)
        torch.testing.assert_close(unbiased, theirs.running_var, **TIGHT)
    layer.eval()
    theirs.eval().running_var.copy_(layer.running_var)
    torch.testing.assert_close(layer(x[:1]), theirs(x[:1]), **TIGHT)


# --- Modes, saving, replicating -------------------------------------------------------------------


def test_eval_decides_which_statistics_are_used_and_nothing_else():
    layer, x = BatchNorm(3), drawn(8, 3, dtype=torch.float32) + 5
    layer.requires_grad_(False)
    with torch.no_grad():
        assert layer(x).mean().abs() < 1e-6
    assert layer.running_mean.min() > 0.3
    layer.requires_grad_(True).eval()
    before = copy.deepcopy(layer.state_dict())
    assert layer(x).mean() > 1
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


def test_one_example_can_be_evaluated_and_its_gradient_is_right():
    layer = BatchNorm(3, 0.1, dtype=torch.float64)
    layer(drawn(9, 3))
    layer.eval()
    assert gradcheck(layer, drawn(1, 3).requires_grad_())
    assert gradcheck(layer, drawn(1, 3, 2, 2).requires_grad_())
    expected = (drawn(1, 3) - layer.running_mean) / (layer.running_var + 0.1).sqrt()
    torch.testing.assert_close(layer(drawn(1, 3)), expected, **TIGHT)


def test_a_layer_that_saw_constants_evaluates_to_beta_with_delta_0():
    layer = BatchNorm(1, delta=0.0, decay=0.0)
    layer(torch.full((4, 1), 7.0))
    layer.eval()
    assert layer(torch.tensor([[7.0], [8.0]])).tolist() == [[0.0], [0.0]]


def test_it_is_saved_copied_and_shown():
    layer = BatchNorm(3, 1e-5, 0.5)
    layer(drawn(8, 3, dtype=torch.float32))
    other = BatchNorm(3)
    other.load_state_dict(layer.state_dict())
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(same.state_dict(), layer.state_dict(), rtol=0, atol=0)
    assert [*layer.state_dict()] == ["gamma", "beta", "running_mean", "running_var"]
    assert repr(layer) == "BatchNorm(3, delta=1e-05, decay=0.5)"


@pytest.mark.filterwarnings("ignore:<class 'torch.autograd.function.Function'>")  # the compiler's
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_it_is_compiled(backend):
    torch._dynamo.reset()
    net = nn.Sequential(nn.Linear(3, 4), BatchNorm(4), nn.Tanh(), nn.Linear(4, 1)).double()
    plain, x = copy.deepcopy(net), drawn(6, 3)
    compiled = torch.compile(net, backend=backend, fullgraph=True)
    for _ in range(2):
        compiled(x).square().sum().backward()
        plain(x).square().sum().backward()
    for p, q in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, **TIGHT)
    torch.testing.assert_close(net.state_dict(), plain.state_dict(), **TIGHT)
    compiled.eval()
    torch.testing.assert_close(compiled(x[:1]), plain.eval()(x[:1]), **TIGHT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_float32(dtype):
    x = (drawn(64, 3, dtype=torch.float32) + 30).to(dtype).requires_grad_()
    layer = BatchNorm(3)
    out = layer(x)
    wide = x.detach().float().requires_grad_()
    expected = BatchNorm(3)(wide)
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected.to(dtype), rtol=0, atol=0)
    got = torch.autograd.grad(out.square().sum(), x)[0]
    assert got.dtype == dtype
    half = BatchNorm(3).to(dtype)
    torch.testing.assert_close(half(x), out, rtol=0, atol=0)
    assert half.eval()(x[:1]).dtype == dtype


@pytest.mark.parametrize("gamma_only", [True, False])
def test_it_is_vectorised_over_networks(gamma_only):
    gammas, betas = drawn(4, 3, seed=1), drawn(4, 3, seed=2)
    H = drawn(6, 3) if gamma_only else drawn(4, 6, 3)
    dims = (None if gamma_only else 0, 0, 0)

    def loss(H, gamma, beta):
        return batch_norm(H, gamma, beta).pow(3).sum()

    got = torch.vmap(torch.func.grad(loss, (0, 1, 2)), dims)(H, gammas, betas)
    for r in range(4):
        each = torch.func.grad(loss, (0, 1, 2))(H if gamma_only else H[r], gammas[r], betas[r])
        torch.testing.assert_close([g[r] for g in got], [*each], **TIGHT)


@pytest.mark.parametrize("method", [dlopt.Newton(), dlopt.TruncatedNewton(), dlopt.BFGS()])
def test_methods_with_second_derivatives_train_it(method):
    net = nn.Sequential(nn.Linear(3, 4, bias=False), BatchNorm(4), nn.Tanh(), nn.Linear(4, 1))
    x = drawn(40, 3)
    y = torch.sin(x[:, :1])
    net.double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(drawn(*p.shape, seed=i))
    optimizer = dlopt.MethodOptimizer(net.parameters(), method, full_batch=True)

    def closure():
        return (net(x) - y).square().mean()

    start = closure().item()
    for _ in range(30):
        optimizer.step(closure)
    assert closure().item() < 0.05 * start


# --- Memory ---------------------------------------------------------------------------------------


def test_running_statistics_keep_no_graph_alive():
    layer = BatchNorm(3)
    x = drawn(4, 3, dtype=torch.float32).requires_grad_()

    def steps(n):
        for _ in range(n):
            layer(x).square().sum().backward()
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    assert steps(5) >= steps(1000)
    assert not layer.running_mean.requires_grad and layer.running_var.grad_fn is None


@pytest.mark.parametrize("shape", [(64, 8), (16, 8, 5, 5)])
def test_the_backward_pass_keeps_one_activation_and_two_vectors(shape):
    kept = []
    x = drawn(*shape).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        batch_norm(x, torch.ones(8).double().requires_grad_(), torch.zeros(8).double())
    assert sorted(kept) == [8, 8, x.numel()]


# --- Refusals -------------------------------------------------------------------------------------


def test_the_variance_of_one_value_is_refused_with_two_ways_out():
    layer = BatchNorm(3)
    with pytest.raises(ValueError, match=r"got H of shape \(1, 3\): use more examples, or .*eval"):
        layer(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"two values of each feature, got H of shape \(0, 3\)"):
        layer(torch.zeros(0, 3))
    assert layer(drawn(1, 3, 5, 5, dtype=torch.float32)).isfinite().all()
    assert layer.eval()(torch.zeros(1, 3)).shape == (1, 3)
    assert layer(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5, 4), r"gamma .* the 4 features of H, \(4,\), got \(3,\)"),
        (torch.zeros(3), r"shape \(m, C\) or \(m, C, \*positions\), got \(3,\)"),
        (torch.zeros(5, 3, dtype=torch.long), "floating-point dtype, got torch.int64"),
        (torch.zeros(5, 3, dtype=torch.complex64), "floating-point dtype, got torch.complex64"),
        (torch.zeros(5, 3).double(), "dtype of H, torch.float64, got torch.float32"),
    ],
)
def test_input_that_does_not_fit_is_refused(x, message, training):
    with pytest.raises(ValueError, match=message):
        BatchNorm(3).train(training)(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delta": -1.0}, "delta must be a finite number of at least 0, got -1.0"),
        ({"delta": math.nan}, "delta .* got nan"),
        ({"delta": math.inf}, "delta .* got inf"),
        ({"decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
        ({"decay": -0.1}, r"decay .* got -0.1"),
        ({"decay": math.nan}, r"decay .* got nan"),
        ({"num_features": 0}, "num_features must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchNorm(**{"num_features": 3, **arguments})


def test_a_negative_delta_of_the_function_is_refused():
    with pytest.raises(ValueError, match=r"delta .* got -0\.5"):
        batch_norm(drawn(4, 2), *drawn(2, 2), delta=-0.5)
