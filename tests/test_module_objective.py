"""A closure as an objective: hooks, sparse gradients, half precision, memory, what is refused."""

import gc
import warnings
import weakref
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.checkpoint import checkpoint

import dlopt
from dlopt.module_objective import ModuleObjective
from tests.small_network import METHODS, flat, task

D = torch.float64
SECOND = ["newton", "damped_newton", "truncated_newton", "exact_steepest_descent"]
FIRST = ["gradient_descent", "steepest_descent", "conjugate_gradient", "bfgs", "lbfgs"]
each = pytest.mark.parametrize("name", [*FIRST, *SECOND, "coordinate_descent"])
SHAPES = [(), (1, 1, 3), (2, 0), (2,), (3, 1)]


@each
def test_parameters_of_any_shape_are_trained(name: str) -> None:
    parameters = [nn.Parameter(torch.zeros(shape, dtype=D)) for shape in SHAPES]
    optimizer = dlopt.MethodOptimizer(parameters, METHODS[name])
    for _ in range(150):
        optimizer.step(lambda: sum(((p - 3) ** 2).sum() for p in parameters))
    for p in parameters:
        torch.testing.assert_close(p.detach(), torch.full_like(p, 3.0), rtol=0.0, atol=0.02)


def test_a_point_is_a_copy_of_the_parameters() -> None:
    for shapes in ([(3,)], [(), (2, 2)]):
        parameters = [torch.ones(shape, requires_grad=True) for shape in shapes]
        f = ModuleObjective(lambda parameters=parameters: parameters[0].sum(), parameters)
        point = f.point()
        f.write(torch.zeros_like(point))
        assert bool((point == 1).all())


# What a backward pass sets off


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("backward", [True, False])
def test_hooks_run_once_for_every_gradient(name: str, backward: bool) -> None:
    p = nn.Parameter(torch.full((3,), 2.0, dtype=D))
    of_tensor, of_grad, calls = [], [], []
    p.register_hook(of_tensor.append)
    p.register_post_accumulate_grad_hook(of_grad.append)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p**4).sum()
        calls.append(1)
        if backward:
            loss.backward()
        return loss

    optimizer = dlopt.MethodOptimizer([p], METHODS[name])
    for _ in range(3):
        optimizer.step(closure)
    assert len(of_tensor) == len(of_grad) == len(calls) >= 6


@pytest.mark.parametrize("backward", [True, False])
def test_a_hook_that_changes_the_gradient_is_honoured(backward: bool) -> None:
    p = nn.Parameter(torch.ones(3, dtype=D))
    p.register_hook(lambda g: g * torch.tensor([1.0, 0.0, 1.0], dtype=D))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = ((p - 3) ** 2).sum()
        if backward:
            loss.backward()
        return loss

    optimizer = dlopt.MethodOptimizer([p], dlopt.GradientDescent(0.5))
    optimizer.step(closure)
    assert p.tolist() == [3.0, 1.0, 3.0]


def test_checkpointed_layers_train_without_backward_in_the_closure() -> None:
    """A reentrant checkpoint allows backward() alone, not torch.autograd.grad."""
    net, x, y = task()
    twin, _, _ = task()
    x.requires_grad_()
    ours, plain = (dlopt.MethodOptimizer(n.parameters(), dlopt.LBFGS()) for n in (net, twin))
    for _ in range(5):
        ours.step(lambda: mse_loss(checkpoint(net, x, use_reentrant=True), y))
        plain.step(lambda: mse_loss(twin(x), y))
    assert torch.equal(flat(net), flat(twin))


@each
def test_sparse_gradients_train_as_dense_ones_without_backward(name: str) -> None:
    weights = []
    for sparse in (True, False):
        table = nn.Embedding(6, 2, sparse=sparse, dtype=D)
        with torch.no_grad():
            table.weight.copy_(torch.arange(12.0, dtype=D).reshape(6, 2) / 10)
        optimizer = dlopt.MethodOptimizer(table.parameters(), METHODS[name])
        for _ in range(5):
            optimizer.step(lambda t=table: (t(torch.tensor([0, 2, 2, 5])) - 1).square().sum())
        weights.append(table.weight.detach())
    torch.testing.assert_close(*weights, rtol=1e-12, atol=1e-12)
    assert not torch.equal(weights[0], torch.arange(12.0, dtype=D).reshape(6, 2) / 10)


# Whose memory it is


class Reused(torch.autograd.Function):
    """The squared distance from 1, whose gradient is always written into one buffer."""

    buffer: Tensor

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x - 1).square().dot(torch.arange(1.0, len(x) + 1, dtype=D))

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        Reused.buffer.copy_(2 * (x - 1) * torch.arange(1.0, len(x) + 1, dtype=D) * g)
        return Reused.buffer


@pytest.mark.parametrize("full_batch", [True, False])
def test_a_gradient_that_is_written_again_is_copied(full_batch: bool) -> None:
    def run(f) -> list[float]:
        p = nn.Parameter(torch.full((20,), 3.0, dtype=D))
        optimizer = dlopt.MethodOptimizer([p], dlopt.LBFGS(), full_batch=full_batch)
        return [float(optimizer.step(lambda: f(p))) for _ in range(10)]

    Reused.buffer = torch.empty(20, dtype=D)
    curvatures = torch.arange(1.0, 21, dtype=D)
    assert run(Reused.apply) == run(lambda p: (p - 1).square().dot(curvatures))


def test_a_loss_that_is_written_again_is_copied() -> None:
    p, out = nn.Parameter(torch.ones(2, dtype=D)), torch.empty((), dtype=D)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return out.copy_(loss.detach())

    optimizer = dlopt.MethodOptimizer([p], dlopt.SteepestDescent(), full_batch=True)
    losses = [optimizer.step(closure) for _ in range(3)]
    assert float(losses[0]) == 2.0 > float(losses[1])


@each
@pytest.mark.parametrize("create_graph", [True, False, None])
def test_a_model_that_is_dropped_is_gone_at_once(name: str, create_graph: bool | None) -> None:
    """Without waiting for the garbage collector, whatever the closure's convention."""
    if create_graph is False and name not in FIRST:
        pytest.skip("needs curvature")

    def train() -> list[weakref.ref]:
        net, x, y = task()
        optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name], full_batch=True)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = mse_loss(net(x), y)
            if create_graph is not None:
                loss.backward(create_graph=create_graph)
            return loss

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
            for _ in range(2):
                optimizer.step(closure)
        return [weakref.ref(kept) for kept in (optimizer, *net.parameters())]

    gc.collect()
    gc.disable()
    try:
        assert [ref() for ref in train()] == [None] * 5
    finally:
        gc.enable()


def test_gradients_stay_where_they_hold_no_graph() -> None:
    """As after a step of torch.optim.LBFGS."""
    p = nn.Parameter(torch.ones(2, dtype=D))
    optimizer = dlopt.MethodOptimizer([p], dlopt.GradientDescent(0.25))
    optimizer.step(lambda: (p**2).sum())
    assert p.grad.tolist() == (2 * p).tolist()


# Half precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("around", ["closure", "step"])
@pytest.mark.parametrize("name", [*FIRST, *SECOND])
def test_autocast_trains_wherever_it_stands(name: str, around: str, dtype: torch.dtype) -> None:
    """The method itself computes in full precision, with no old copies of the parameters."""
    net, x, y = task(torch.float32)
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name], full_batch=True)
    seen = set()

    def closure() -> Tensor:
        with torch.autocast("cpu", dtype) if around == "closure" else nullcontext():
            outputs = net(x)
        seen.add(outputs.dtype)
        return mse_loss(outputs.float(), y)

    with torch.autocast("cpu", dtype) if around == "step" else nullcontext():
        losses = [optimizer.step(closure) for _ in range(15)]
    assert seen == {dtype}
    with torch.autocast("cpu", dtype):
        assert mse_loss(net(x).float(), y) < 0.5 * losses[0]


def test_a_gradient_scaler_works_inside_the_closure() -> None:
    net, x, y = task(torch.float32)
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # too much: it has to come down

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = mse_loss(net(x).float(), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.update()
        return loss

    losses = [float(optimizer.step(closure)) for _ in range(40)]
    assert losses[0] == losses[1]
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
        scaler.step(optimizer, closure=closure)


# What is refused, in the closure's words


@pytest.mark.parametrize("backward", [True, False])
def test_a_loss_of_one_element_is_a_loss(backward: bool) -> None:
    p = nn.Parameter(torch.ones(2, dtype=D))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p**2).sum().reshape(1)
        if backward:
            loss.backward()
        return loss

    optimizer = dlopt.MethodOptimizer([p], dlopt.GradientDescent(0.25))
    assert optimizer.step(closure).shape == ()
    assert p.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda p: p, r"closure must return a 0-d tensor, got shape \(2,\)"),
        (lambda p: None, "closure must return a 0-d tensor, got NoneType"),
        (lambda p: p.detach().sum(), "loss that closure returns must depend on the parameters"),
        (lambda p: (p > 0).sum(), "closure must return a real floating-point tensor"),
    ],
)
def test_errors_speak_of_the_closure(loss, message: str) -> None:
    p = nn.Parameter(torch.ones(2, dtype=D))
    for name in ("lbfgs", "newton"):
        with pytest.raises(ValueError, match=message):
            dlopt.MethodOptimizer([p], METHODS[name]).step(lambda: loss(p))
    with pytest.raises(ValueError, match=r"closure must return a 1-D tensor of residuals"):
        dlopt.MethodOptimizer([p], dlopt.LevenbergMarquardt()).step(lambda: p.sum())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's own count")
@pytest.mark.parametrize("convention", ["returned", "backward", "create_graph"])
def test_memory_stays_constant_over_many_steps(convention: str) -> None:
    """Graphs that stayed alive would add half a gigabyte, a megabyte and more an evaluation."""
    net = nn.Sequential(nn.Linear(16, 256), nn.Tanh(), nn.Linear(256, 1))
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS())

    def closure() -> Tensor:
        loss = mse_loss(net(x), x.sum(1, keepdim=True).sin())
        if convention != "returned":
            loss.backward(create_graph=convention == "create_graph")
        return loss

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
            for _ in range(50):
                optimizer.step(closure)
            before = resident()
            for _ in range(250):
                optimizer.step(closure)
    finally:
        gc.enable()
    assert resident() - before < 20 * 2**20


@pytest.mark.parametrize("backward", [None, "once", "retain"])
@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_a_loss_of_other_parameters_is_an_error(name: str, backward: str | None) -> None:
    """As after ``load_state_dict(assign=True)``, which puts other tensors into the module."""
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])
    net.load_state_dict(
        {key: value.clone() for key, value in net.state_dict().items()}, assign=True
    )

    def closure() -> Tensor:
        loss = mse_loss(net(x), y)
        if backward is not None:
            loss.backward(retain_graph=backward == "retain")
        return loss

    with pytest.raises(ValueError, match="the loss that closure returns must depend on the para"):
        optimizer.step(closure)


def test_a_graph_from_before_the_closure_is_an_error() -> None:
    net, x, y = task()
    hidden = net[0](x)
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS())
    with pytest.raises(
        ValueError, match="by a graph that each call builds anew, got one that back"
    ):
        optimizer.step(lambda: mse_loss(net[2](net[1](hidden)), y))
