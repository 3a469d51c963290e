"""`MethodOptimizer`: the same iterates as `minimize`, PyTorch's conventions."""

import copy
import itertools
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import dlopt
from dlopt.empirical_risk import EmpiricalRisk
from dlopt.method import State
from dlopt.objective import Objective
from tests.small_network import METHODS, flat, task

GRADIENT_ONLY = [
    "gradient_descent",
    "steepest_descent",
    "conjugate_gradient",
    "polak_ribiere_plus",
    "bfgs",
    "lbfgs",
]
each = pytest.mark.parametrize("name", METHODS)


@each
@pytest.mark.parametrize("full_batch", [False, True])
def test_visits_the_iterates_of_minimize(name: str, full_batch: bool) -> None:
    net, x, y = task()
    risk = EmpiricalRisk(net, x, y, mse_loss)
    expected = dlopt.minimize(risk, risk.initial, METHODS[name], max_steps=12)
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name], full_batch=full_batch)
    for before, after in itertools.pairwise(expected.states):
        loss = optimizer.step(lambda: mse_loss(net(x), y))
        torch.testing.assert_close(loss, before.value, rtol=1e-12, atol=0.0)
        torch.testing.assert_close(flat(net), after.x, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", GRADIENT_ONLY)
def test_a_closure_written_for_torch_lbfgs_works_unchanged(name: str) -> None:
    paths = []
    for with_backward in (True, False):
        net, x, y = task()
        optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = mse_loss(net(x), y)
            if with_backward:
                loss.backward()
            return loss

        losses = [float(optimizer.step(closure)) for _ in range(10)]
        assert losses[-1] < losses[0]
        paths.append(flat(net))
    assert torch.equal(*paths)


def fit(make_optimizer, steps: int) -> tuple[float, int]:
    """A training script as written for ``torch.optim.LBFGS``; its last loss and its closures."""
    net, x, y = task()
    optimizer = make_optimizer(net.parameters())
    calls = 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = mse_loss(net(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return float(mse_loss(net(x), y)), calls


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # from torch's LBFGS
def test_a_script_for_torch_lbfgs_runs_by_changing_the_constructor() -> None:
    """The same script, 100 iterations either way: a like loss for no more closures."""
    theirs = fit(lambda p: torch.optim.LBFGS(p, history_size=10, line_search_fn="strong_wolfe"), 5)
    ours = fit(lambda p: dlopt.MethodOptimizer(p, dlopt.LBFGS(), full_batch=True), 100)
    assert max(ours[0], theirs[0]) < 1e-2 * fit(lambda p: torch.optim.SGD(p, lr=1e-9), 1)[0]
    assert ours[1] < 1.2 * theirs[1]


def test_the_gradient_it_remembers_is_not_the_parameters_own() -> None:
    weights = nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
    optimizer = dlopt.MethodOptimizer([weights], dlopt.LBFGS(), full_batch=True)
    twin = nn.Parameter(weights.detach().clone())
    twin_optimizer = dlopt.MethodOptimizer([twin], dlopt.LBFGS(), full_batch=True)

    def closure(w: Tensor) -> Tensor:
        loss = torch.cosh(w).sum()
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(lambda: closure(weights))
        twin_optimizer.step(lambda: closure(twin))
        optimizer.zero_grad(set_to_none=False)
        assert not weights.grad.any()
    torch.testing.assert_close(weights, twin)


def test_a_pair_comes_from_one_minibatch() -> None:
    """With a new minibatch at every step y is still a difference of gradients of one of them."""
    g = torch.Generator().manual_seed(0)
    batches = [torch.rand(3, generator=g, dtype=torch.float64) + 0.5 for _ in range(6)]
    weights = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = dlopt.MethodOptimizer([weights], dlopt.LBFGS(safeguard=False))
    for curvatures in batches:
        optimizer.step(lambda h=curvatures: (h * (weights - 2) ** 2).sum() / 2)
    pairs = optimizer.state[weights]["pairs"]
    for (s, y, _), curvatures in zip(pairs, batches, strict=True):
        torch.testing.assert_close(y, curvatures * s)


@pytest.mark.parametrize("number", [float, np.float32, np.float64])
def test_a_closure_may_return_a_number_as_for_torch_lbfgs(number: type) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.SteepestDescent())

    def closure() -> float:
        optimizer.zero_grad()
        loss = mse_loss(net(x), y)
        loss.backward()
        return number(loss.item())

    losses = [float(optimizer.step(closure)) for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("name", ["newton", "truncated_newton", "exact_steepest_descent"])
def test_curvature_after_backward_is_a_clear_error(name: str) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])

    def closure(create_graph: bool) -> Tensor:
        loss = mse_loss(net(x), y)
        loss.backward(create_graph=create_graph)
        return loss

    start = flat(net)
    with pytest.raises(ValueError, match="without calling backward"):
        optimizer.step(lambda: closure(False))
    assert torch.equal(flat(net), start)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
        loss = optimizer.step(lambda: closure(True))
    assert mse_loss(net(x), y) < loss


def test_each_step_sees_its_own_minibatch() -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.GradientDescent(0.05))
    twin = copy.deepcopy(net)
    sgd = torch.optim.SGD(twin.parameters(), lr=0.05)
    for i in range(8):
        rows = slice(5 * i, 5 * i + 5)
        optimizer.step(lambda rows=rows: mse_loss(net(x[rows]), y[rows]))
        sgd.zero_grad()
        mse_loss(twin(x[rows]), y[rows]).backward()
        sgd.step()
    torch.testing.assert_close(flat(net), flat(twin))


def test_parameters_changed_from_outside_are_noticed() -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(
        net.parameters(), dlopt.GradientDescent(0.05), full_batch=True
    )
    optimizer.step(lambda: mse_loss(net(x), y))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(0.5)
    expected = mse_loss(net(x), y).detach()
    torch.testing.assert_close(optimizer.step(lambda: mse_loss(net(x), y)), expected)


def test_full_batch_saves_an_evaluation_a_step() -> None:
    counts = []
    for full_batch in (False, True):
        net, x, y = task()
        calls = 0

        def closure() -> Tensor:
            nonlocal calls
            calls += 1
            return mse_loss(net(x), y)

        method = dlopt.GradientDescent(0.05)
        optimizer = dlopt.MethodOptimizer(net.parameters(), method, full_batch=full_batch)
        for _ in range(10):
            optimizer.step(closure)
        counts.append(calls)
    assert counts == [20, 11]


def test_a_loss_that_is_not_finite_leaves_the_parameters_alone() -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.SteepestDescent())
    optimizer.step(lambda: mse_loss(net(x), y))
    before = flat(net)
    loss = optimizer.step(lambda: mse_loss(net(x), y) * float("nan"))
    assert bool(loss.isnan())
    assert optimizer.reason == "non_finite"
    assert torch.equal(flat(net), before)
    optimizer.step(lambda: mse_loss(net(x), y))
    assert optimizer.reason == ""
    assert mse_loss(net(x), y) < mse_loss(task()[0](x), y)


def test_unused_and_frozen_parameters_stay() -> None:
    net, x, y = task()
    spare = nn.Parameter(torch.ones(2, dtype=torch.float64))
    net[0].bias.requires_grad_(False)
    frozen = net[0].bias.clone()
    optimizer = dlopt.MethodOptimizer([*net.parameters(), spare], dlopt.Newton())
    for _ in range(3):
        optimizer.step(lambda: mse_loss(net(x), y))
    assert torch.equal(net[0].bias, frozen)
    assert torch.equal(spare.detach(), torch.ones(2, dtype=torch.float64))


def test_what_is_frozen_may_be_of_any_dtype() -> None:
    base = nn.Parameter(torch.tensor([2, 3], dtype=torch.int8), requires_grad=False)
    w = nn.Parameter(torch.ones(2))
    optimizer = dlopt.MethodOptimizer([base, w], dlopt.Newton(damping=0.0))
    optimizer.step(lambda: (base * w - 6).square().sum())
    assert w.tolist() == pytest.approx([3, 2])


def test_bad_parameters_are_named() -> None:
    method = dlopt.Newton()
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="empty parameter list"):
        dlopt.MethodOptimizer([], method)
    with pytest.raises(ValueError, match="one parameter group, got a second"):
        dlopt.MethodOptimizer([{"params": [a]}, {"params": [b]}], method)
    with pytest.raises(ValueError, match=r"must be float32 or float64, got torch\.complex64"):
        dlopt.MethodOptimizer([nn.Parameter(torch.ones(2, dtype=torch.complex64))], method)
    with pytest.raises(ValueError, match="share one dtype and device"):
        dlopt.MethodOptimizer([a, nn.Parameter(torch.ones(1, dtype=torch.float64))], method)
    with pytest.raises(ValueError, match="closure must compute and return the loss, got None"):
        dlopt.MethodOptimizer([a], method).step()
    with pytest.raises(ValueError, match=r"method must be an instance, such as Newton\(\)"):
        dlopt.MethodOptimizer([a], dlopt.Newton)
    for no_method in (None, "Newton"):
        with pytest.raises(ValueError, match=f"must be an instance, .*, got {no_method!r}"):
            dlopt.MethodOptimizer([a], no_method)
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(ValueError, match=f"be float32 or float64, got {dtype}: .*autocast"):
            dlopt.MethodOptimizer([nn.Parameter(torch.ones(2, dtype=dtype))], method)
    with pytest.raises(ValueError, match="0-d tensor, got float"):
        dlopt.MethodOptimizer([a], method).step(lambda: 1.0)
    with pytest.raises(ValueError, match="closure must compute and return the loss, got tensor"):
        dlopt.MethodOptimizer([a], method).step(a.sum())


@pytest.mark.parametrize("name", ["gradient_descent", "lbfgs"])
@pytest.mark.parametrize("compiled", ["model", "training"])
def test_compiled_models_and_loops_train_as_others(name: str, compiled: str) -> None:
    runs = []
    for compiles in (True, False):
        net, x, y = task()
        optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])

        def train(net=net, x=x, y=y, optimizer=optimizer) -> Tensor:
            return optimizer.step(lambda: mse_loss(net(x), y))

        if compiles and compiled == "model":
            net.compile(backend="eager")
        elif compiles:
            train = torch.compile(train, backend="eager")
        for _ in range(4):
            train()
        runs.append(flat(net))
    assert torch.equal(*runs)


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_weights_that_are_handed_over_twice_are_trained_once() -> None:
    runs = []
    for twice in (True, False):
        net, x, y = task()
        last, tied = net[2], nn.Linear(3, 4, bias=False, dtype=torch.float64)
        tied.weight = net[0].weight
        parameters = [*net[0].parameters(), *([tied.weight] if twice else []), *last.parameters()]
        optimizer = dlopt.MethodOptimizer(parameters, dlopt.LBFGS())
        for _ in range(3):
            optimizer.step(lambda net=net, tied=tied: mse_loss(net(x) + tied(x).mean(), y))
        saved = optimizer.state_dict()
        optimizer = dlopt.MethodOptimizer(parameters, dlopt.LBFGS())
        optimizer.load_state_dict(saved)
        optimizer.step(lambda net=net, tied=tied: mse_loss(net(x) + tied(x).mean(), y))
        assert len(optimizer.state[parameters[0]]["pairs"]) == 4
        runs.append(flat(net))
    assert torch.equal(*runs)


def test_sparse_gradients_train_as_dense_ones() -> None:
    weights = []
    for sparse in (True, False):
        table = nn.Embedding(6, 2, sparse=sparse, dtype=torch.float64)
        with torch.no_grad():
            table.weight.copy_(torch.arange(12.0, dtype=torch.float64).reshape(6, 2) / 10)
        optimizer = dlopt.MethodOptimizer(table.parameters(), dlopt.LBFGS())

        def closure(table=table, optimizer=optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = (table(torch.tensor([0, 2, 2, 5])) - 1).square().sum()
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
        weights.append(table.weight.detach())
    assert torch.equal(*weights)
    torch.testing.assert_close(weights[0][[0, 2, 5]], torch.ones(3, 2, dtype=torch.float64))


def test_a_step_that_fails_is_named_and_forgets_what_was_learned() -> None:
    """A loss that changes at every call, so that no line search can succeed."""
    weights = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = dlopt.MethodOptimizer([weights], dlopt.LBFGS())
    rising = 0.0

    def closure() -> Tensor:
        nonlocal rising
        rising += jump
        return (weights**4).sum() + rising

    jump = 0.0
    optimizer.step(closure)
    assert (optimizer.reason, len(optimizer.state[weights]["pairs"])) == ("", 1)
    jump, before = 100.0, weights.detach().clone()
    optimizer.step(closure)
    assert optimizer.reason == "line_search"
    assert torch.equal(weights, before)
    assert not optimizer.state[weights]


@pytest.mark.parametrize("full_batch", [False, True])
@pytest.mark.parametrize("name", ["conjugate_gradient", "bfgs", "lbfgs"])
def test_at_the_floor_a_step_costs_one_call_and_says_so(name: str, full_batch: bool) -> None:
    """A small net in single precision, long after the last digit has been found."""
    torch.manual_seed(3)  # a start from which that takes no more than 2000 steps
    net = nn.Sequential(nn.Linear(1, 10), nn.Tanh(), nn.Linear(10, 1))
    x = torch.linspace(-2, 2, 50).unsqueeze(1)
    y, calls = torch.sin(2 * x), 0
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name], full_batch=full_batch)

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        return mse_loss(net(x), y)

    losses, spent = [], []
    for _ in range(4000):
        before = calls
        losses.append(float(optimizer.step(closure)))
        spent.append(calls - before)
        if len(spent) > 5 and max(spent[-5:]) == 1 and optimizer.reason:
            break
    assert optimizer.reason == "no_decrease"
    assert spent[-5:] == [1] * 5
    assert losses[-1] == losses[-6] <= 1e-4 * losses[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Remembering(State):
    steps: int = 0


@dataclass(frozen=True)
class Stubborn:
    """Goes down the gradient, but finds nothing from where it remembers a step, or when told so."""

    finds: bool = True

    def init(self, f: Objective, x: Tensor) -> Remembering:
        return Remembering.begin(f.evaluate(x))

    def step(self, f: Objective, state: Remembering) -> Remembering:
        if state.steps or not self.finds:
            return state.ended("line_search")
        return state.moved(f.evaluate(state.x - 0.01 * state.grad), steps=1)


def test_where_nothing_was_found_another_try_is_made_once_something_is_new() -> None:
    weights = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = dlopt.MethodOptimizer([weights], Stubborn(), full_batch=True)
    reasons = []
    for _ in range(4):  # a memory that misleads is dropped, and the next step finds its way
        optimizer.step(lambda: (weights**2).sum())
        reasons.append(optimizer.reason)
    assert reasons == ["", "line_search", "", "line_search"]

    calls = 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        return (weights**2).sum() + shift

    shift, optimizer.method = 0.0, Stubborn(finds=False)
    optimizer.step(closure)
    assert (calls, optimizer.reason) == (
        2,
        "line_search",
    )
    optimizer.step(closure)
    assert (calls, optimizer.reason) == (3, "line_search")  # nothing new: one call
    shift = 1.0
    optimizer.step(closure)
    assert (calls, optimizer.reason) == (5, "line_search")  # another loss
    optimizer.method = Stubborn()
    optimizer.step(closure)
    assert optimizer.reason == ""
