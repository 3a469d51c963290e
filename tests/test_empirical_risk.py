"""The empirical risk equals what a training loop computes, and leaves the network alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import dlopt
from dlopt.empirical_risk import EmpiricalRisk
from dlopt.lesson.networks import mlp


def network():
    return mlp([4, 3, 2], torch.Generator().manual_seed(0), dtype=torch.float64)


def data(m=7, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(m, 4, generator=generator).double()
    return inputs, torch.randn(m, 2, generator=generator).double()


def labels(m=7):
    return torch.arange(m) % 2


LOSSES = [
    (F.mse_loss, data()[1]),
    (nn.MSELoss(), data()[1]),
    (nn.CrossEntropyLoss(), labels()),
    (F.cross_entropy, labels()),
    (nn.BCEWithLogitsLoss(), (data()[1] > 0).double()),
    (F.smooth_l1_loss, data()[1]),
]


@pytest.mark.parametrize(("loss", "targets"), LOSSES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_value_and_gradient_are_those_of_a_training_loop(loss, targets, weight_decay):
    module = network()
    inputs, _ = data()
    risk = EmpiricalRisk(module, inputs, targets, loss, weight_decay=weight_decay)
    theta = risk.initial.requires_grad_(True)
    value = risk(theta)
    (gradient,) = torch.autograd.grad(value, theta)

    # The loop leaves weight decay to the optimiser: an SGD step of rate 1 shows its gradient.
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0, weight_decay=weight_decay)
    before = risk.initial
    plain = loss(module(inputs), targets)
    plain.backward()
    optimizer.step()
    torch.testing.assert_close(gradient, before - risk.initial, rtol=1e-12, atol=1e-14)
    penalty = weight_decay / 2 * before.square().sum()
    torch.testing.assert_close(value, plain + penalty, rtol=1e-14, atol=0)
    assert value.dim() == 0


def test_it_is_the_mean_over_the_examples():
    """Equation (8.25), with a loop over the examples and the network itself."""
    module, (inputs, targets) = network(), data()
    risk = EmpiricalRisk(module, inputs, targets, F.mse_loss)
    theta = risk.initial + 0.1
    value = risk(theta)
    nn.utils.vector_to_parameters(theta, module.parameters())
    losses = [F.mse_loss(module(x), y) for x, y in zip(inputs, targets, strict=True)]
    torch.testing.assert_close(value, sum(losses) / len(losses))
    parts = torch.stack([risk.subset([i])(theta) for i in range(risk.m)])
    torch.testing.assert_close(value, parts.mean())


@pytest.mark.parametrize("loss", [F.mse_loss, F.cross_entropy])
def test_second_derivatives(loss):
    targets = data()[1] if loss is F.mse_loss else labels()
    risk = EmpiricalRisk(network(), data()[0], targets, loss, weight_decay=0.1)
    theta = risk.initial.requires_grad_(True)
    assert torch.autograd.gradcheck(risk, (theta,))
    assert torch.autograd.gradgradcheck(risk, (theta,), fast_mode=True)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("loss", [F.mse_loss, nn.MSELoss()])
def test_squared_residuals_sum_to_the_risk(loss, weight_decay):
    risk = EmpiricalRisk(network(), *data(), loss, weight_decay=weight_decay)
    theta = risk.initial
    r = risk.residuals(theta)
    assert r.shape == (14 + (risk.n if weight_decay else 0),)
    torch.testing.assert_close(r.square().sum(), risk(theta), rtol=1e-14, atol=0)
    assert torch.autograd.gradcheck(risk.residuals, (theta.requires_grad_(True),))


def test_residuals_need_the_squared_error():
    risk = EmpiricalRisk(network(), data()[0], labels(), F.cross_entropy)
    with pytest.raises(ValueError, match="mean squared error as loss, got <function cross_entropy"):
        risk.residuals(risk.initial)


@pytest.mark.parametrize("call", ["__call__", "residuals"])
def test_targets_that_would_broadcast_are_rejected(call):
    inputs, targets = data()
    risk = EmpiricalRisk(nn.Linear(4, 1).double(), inputs, targets[:, 0], nn.MSELoss())
    with pytest.raises(ValueError, match=r"targets' shape \(7,\), got \(7, 1\)"):
        getattr(risk, call)(risk.initial)


def test_initial_is_a_copy_in_the_order_of_the_parameters():
    module = network()
    risk = EmpiricalRisk(module, *data(), F.mse_loss)
    expected = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    theta = risk.initial
    assert torch.equal(theta, expected)
    assert not theta.requires_grad
    theta.zero_()
    assert torch.equal(risk.initial, expected)
    linear = EmpiricalRisk(nn.Linear(4, 1, bias=False).double(), data()[0], data()[1], F.l1_loss)
    linear.initial.zero_()  # a single parameter: nothing to join, and still a copy
    assert linear.initial.abs().min() > 0


def test_load_copies_into_the_network():
    module = network()
    inputs, targets = data()
    risk = EmpiricalRisk(module, inputs, targets, F.mse_loss)
    theta = torch.linspace(-1, 1, risk.n).double()
    outputs = risk.outputs(theta)
    assert not torch.equal(module(inputs), outputs)
    risk.load(theta)
    assert torch.equal(module(inputs), outputs)
    assert torch.equal(risk.initial, theta)
    theta.zero_()
    assert torch.equal(module(inputs), outputs)
    assert all(p.requires_grad and p.is_leaf for p in module.parameters())


def test_calling_changes_nothing_in_the_network():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double().train()
    risk = EmpiricalRisk(module, *data(), F.mse_loss)
    before = copy.deepcopy(module.state_dict())
    theta = risk.initial.requires_grad_(True)
    first, second = risk(theta), risk(theta)
    risk(theta + 1).backward()
    assert torch.equal(first, second)
    assert before.keys() == module.state_dict().keys()
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in module.parameters())
    assert module.training


def test_batch_norm_in_evaluation_mode_uses_its_running_statistics():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()
    inputs, targets = data()
    for _ in range(3):
        module(inputs)
    module.eval()
    risk = EmpiricalRisk(module, inputs, targets, F.mse_loss)
    torch.testing.assert_close(risk(risk.initial), F.mse_loss(module(inputs), targets))


def test_outputs_on_other_examples():
    module = network()
    risk = EmpiricalRisk(module, *data(), F.mse_loss)
    other = data(m=3, seed=9)[0]
    assert torch.equal(risk.outputs(risk.initial, other), module(other))
    assert torch.equal(risk.outputs(risk.initial, other.float()), module(other.float().double()))


def test_subset_of_every_kind():
    inputs, targets = data()
    risk = EmpiricalRisk(network(), inputs, targets, F.mse_loss, weight_decay=0.2)
    theta = risk.initial
    mask = torch.tensor([True, False, True, False, False, True, False])
    parts = [risk.subset(i) for i in (torch.tensor([0, 2, 5]), [0, 2, 5], mask)]
    direct = EmpiricalRisk(network(), inputs[mask], targets[mask], F.mse_loss, weight_decay=0.2)
    for part in parts:
        assert part.m == 3
        assert torch.equal(part(theta), direct(theta))
    assert risk.subset(slice(0, 4)).m == 4
    assert risk.m == 7


def test_to_another_precision():
    module = network().float()
    module.register_buffer("shift", torch.tensor([1.5]))
    inputs, targets = data()
    risk = EmpiricalRisk(module, inputs, targets, F.mse_loss, weight_decay=0.1)
    assert (risk.dtype, risk.inputs.dtype, risk.targets.dtype) == (torch.float32,) * 3
    fine = risk.to(torch.float64)
    assert fine.initial.dtype == fine(fine.initial).dtype == torch.float64
    assert torch.equal(fine.initial.float(), risk.initial)
    torch.testing.assert_close(fine(fine.initial).float(), risk(risk.initial))
    assert next(module.parameters()).dtype == torch.float32
    fine.load(fine.initial + 1)
    assert next(module.parameters()).dtype == torch.float32
    assert torch.equal(risk.initial, (fine.initial).float())
    assert EmpiricalRisk(module, inputs, labels(), F.cross_entropy).targets.dtype == torch.int64


def test_to_converts_buffers_and_frozen_parameters():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    module[0].requires_grad_(False)
    risk = EmpiricalRisk(module, *data(), F.mse_loss).to(torch.float64)
    assert risk(risk.initial).dtype == torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_to_another_device():
    module = network()
    risk = EmpiricalRisk(module, *data(), F.mse_loss)
    there = risk.to(device="cuda")
    assert there.initial.is_cuda
    torch.testing.assert_close(there(there.initial).cpu(), risk(risk.initial))
    there.load(there.initial + 1)
    assert not next(module.parameters()).is_cuda


def test_frozen_parameters_stay_as_they_are():
    module = network()
    module[0].requires_grad_(False)
    inputs, targets = data()
    risk = EmpiricalRisk(module, inputs, targets, F.mse_loss)
    assert risk.n == 8
    assert torch.equal(risk.outputs(risk.initial), module(inputs))
    kept = module[0].weight.clone()
    risk.load(torch.zeros(8).double())
    assert torch.equal(module[0].weight, kept)
    assert not module[2].weight.any()


def test_tied_parameters_count_once():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()
    module[2].weight = module[0].weight
    inputs, _ = data()
    risk = EmpiricalRisk(module, inputs, inputs, F.mse_loss)
    assert risk.n == 16 + 4 + 4
    torch.testing.assert_close(risk(risk.initial), F.mse_loss(module(inputs), inputs))
    theta = risk.initial.requires_grad_(True)
    (flat,) = torch.autograd.grad(risk(theta), theta)
    risk.loss(module(inputs), inputs).backward()
    torch.testing.assert_close(flat[:16], module[0].weight.grad.reshape(-1))


def test_vmap_over_many_thetas():
    risk = EmpiricalRisk(network(), *data(), F.mse_loss, weight_decay=0.1)
    thetas = torch.stack([risk.initial, risk.initial + 1, torch.zeros_like(risk.initial)])
    batched = torch.func.vmap(risk)(thetas)
    torch.testing.assert_close(batched, torch.stack([risk(t) for t in thetas]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": torch.zeros(6, 4)}, "same number of examples.* got 6 and 7"),
        ({"inputs": torch.zeros(0, 4), "targets": torch.zeros(0, 2)}, "at least one, got 0 and 0"),
        ({"weight_decay": -1.0}, "weight_decay must be >= 0, got -1.0"),
        ({"weight_decay": float("nan")}, "weight_decay must be >= 0, got nan"),
        ({"loss": nn.MSELoss(reduction="sum")}, 'reduction="mean", got MSELoss'),
        ({"module": nn.Tanh()}, "parameter that requires a gradient, got none"),
    ],
)
def test_construction_rejects(change, message):
    inputs, targets = data()
    parts = {"module": network(), "inputs": inputs, "targets": targets, "loss": F.mse_loss}
    with pytest.raises(ValueError, match=message):
        EmpiricalRisk(**{**parts, **change})


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (torch.zeros(22).double(), r"shape \(23,\).* got \(22,\)"),
        (torch.zeros(1, 23).double(), r"got \(1, 23\)"),
        (torch.zeros(23), "dtype torch.float64.* got .* torch.float32"),
    ],
)
def test_theta_that_does_not_fit_is_rejected(theta, message):
    risk = EmpiricalRisk(network(), *data(), F.mse_loss)
    for use in (risk, risk.residuals, risk.load, risk.outputs):
        with pytest.raises(ValueError, match=message):
            use(theta)


def test_loss_that_is_no_mean_is_rejected_when_called():
    risk = EmpiricalRisk(network(), *data(), lambda out, y: (out - y).square().mean(dim=1))
    with pytest.raises(ValueError, match=r"0-d tensor, the mean, got shape \(7,\)"):
        risk(risk.initial)


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_methods_find_the_closed_form_of_ridge_regression(weight_decay):
    inputs, targets = data(m=30)
    module = nn.Linear(4, 1, bias=False).double()
    nn.init.constant_(module.weight, 2.0)
    risk = EmpiricalRisk(module, inputs, targets[:, :1], F.mse_loss, weight_decay)
    gram = 2 / 30 * inputs.T @ inputs + weight_decay * torch.eye(4).double()
    exact = torch.linalg.solve(gram, 2 / 30 * inputs.T @ targets[:, 0])
    # "Unchanged": the very same calls with and without the penalty.
    for method in (dlopt.Newton(damping=0.0), dlopt.TruncatedNewton(), dlopt.SteepestDescent()):
        path = dlopt.minimize(risk, risk.initial, method, grad_tol=1e-7)
        assert path.converged
        torch.testing.assert_close(path.x, exact, rtol=1e-6, atol=1e-6)
    path = dlopt.minimize(risk.residuals, risk.initial, dlopt.LevenbergMarquardt(), grad_tol=1e-7)
    torch.testing.assert_close(path.x, exact, rtol=1e-6, atol=1e-6)
