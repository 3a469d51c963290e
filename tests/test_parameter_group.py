"""The parameter group: settings that are read, schedulers, and what nobody would read."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler, swa_utils

import dlopt

D = torch.float64
SCHEDULERS = {
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 5),  # ends at 0
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: min(1.0, epoch / 4)),  # begins at 0
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3, cycle_momentum=True),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1, threshold=0.9),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)], milestones=[3]
    ),
    "swa": lambda o: swa_utils.SWALR(o, swa_lr=0.02, anneal_epochs=3),
}


def weights() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, 4, dtype=D))


def loss(p: torch.Tensor) -> torch.Tensor:
    return torch.cosh(p).sum()


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("full_batch", [True, False])
def test_schedulers_act_as_on_torch_sgd(name: str, momentum: float, full_batch: bool) -> None:
    p, q = weights(), weights()
    method = dlopt.GradientDescent(0.1, momentum)
    optimizer = dlopt.MethodOptimizer([p], method, full_batch=full_batch)
    sgd = torch.optim.SGD([q], lr=0.1, momentum=momentum)
    ours, reference = SCHEDULERS[name](optimizer), SCHEDULERS[name](sgd)
    rates = set()
    for _ in range(12):
        rates.add(sgd.param_groups[0]["lr"])
        optimizer.step(lambda: loss(p))
        sgd.zero_grad()
        loss(q).backward()
        sgd.step()
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)
        for scheduler in (ours, reference):
            scheduler.step(*([1.0] if name == "plateau" else []))
    assert len(rates) > 1


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("full_batch", [True, False])
def test_a_rate_of_zero_moves_nothing_and_forgets_nothing(dtype, full_batch: bool) -> None:
    """As with torch.optim.SGD the gradients go on to be summed."""
    p, q = (nn.Parameter(weights().detach().to(dtype)) for _ in range(2))
    method = dlopt.GradientDescent(0.1, momentum=0.9)
    optimizer = dlopt.MethodOptimizer([p], method, full_batch=full_batch)
    sgd = torch.optim.SGD([q], lr=0.1, momentum=0.9)
    for rate in (0.0, 0.0, 0.1, 0.0, 0.0, 0.05, 0.1, 0.0):
        before = p.detach().clone()
        optimizer.param_groups[0]["lr"] = sgd.param_groups[0]["lr"] = rate
        optimizer.step(lambda: loss(p))
        sgd.zero_grad()
        loss(q).backward()
        sgd.step()
        assert torch.equal(p, before) == (rate == 0)
        torch.testing.assert_close(p, q)


def test_copies_and_checkpoints_keep_the_rate_of_a_schedule() -> None:
    p = weights()
    optimizer = dlopt.MethodOptimizer([p], dlopt.GradientDescent(0.1))
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step(lambda: loss(p))
    scheduler.step()
    resumed = dlopt.MethodOptimizer([p], dlopt.GradientDescent(0.1))
    resumed.load_state_dict(optimizer.state_dict())
    for copied in (resumed, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert copied.param_groups[0]["lr"] == 0.05
        (mine,) = copied.param_groups[0]["params"]
        before = mine.detach().clone()
        copied.step(lambda mine=mine: loss(mine))
        torch.testing.assert_close(mine.detach(), before - 0.05 * torch.sinh(before))


def test_a_group_names_settings_of_its_own() -> None:
    p = weights()
    group = {"params": [p], "lr": 0.5, "momentum": 0.5, "name": "all"}
    optimizer = dlopt.MethodOptimizer([group], dlopt.GradientDescent(0.1))
    before = p.detach().clone()
    optimizer.step(lambda: loss(p))
    torch.testing.assert_close(p.detach(), before - 0.5 * torch.sinh(before))
    with pytest.raises(ValueError, match=r"learning_rate must be > 0 and finite, got -1\.0"):
        dlopt.MethodOptimizer([{"params": [p], "lr": -1.0}], dlopt.GradientDescent())
    optimizer.param_groups[0]["lr"] = float("nan")
    with pytest.raises(ValueError, match="learning_rate must be > 0 and finite, got nan"):
        optimizer.step(lambda: loss(p))


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (dlopt.GradientDescent(), {"weight_decay": 0.1}, "GradientDescent reads no 'weight_decay'"),
        (dlopt.LBFGS(), {"lr": 1.0}, r"LBFGS reads no 'lr' of a parameter group, got 1\.0"),
        (dlopt.Newton(), {"momentum": 0.0}, "Newton reads no 'momentum'"),
        (dlopt.BFGS(), {"initial_lr": 0.1}, "BFGS reads no 'initial_lr'"),
    ],
)
def test_a_setting_that_nobody_reads_is_refused(method, settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dlopt.MethodOptimizer([{"params": [weights()], **settings}], method)
    optimizer = dlopt.MethodOptimizer([weights()], method)
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [weights()], **settings})
    assert len(optimizer.param_groups[0]["params"]) == 1


@pytest.mark.parametrize("name", ["step", "cosine", "plateau"])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_scheduler_is_told_that_there_is_nothing_to_schedule(name: str, loaded: bool) -> None:
    optimizer = dlopt.MethodOptimizer([weights()], dlopt.LBFGS())
    if loaded:
        optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="has no 'lr': its method chooses its steps itself"):
        SCHEDULERS[name](optimizer)


@pytest.mark.parametrize("method", [dlopt.LBFGS(), dlopt.GradientDescent(0.1)])
@pytest.mark.parametrize("names", [False, True])
def test_parameters_that_are_added_join_the_group(method, names: bool) -> None:
    a, b = weights(), weights()

    def named(p: nn.Parameter, name: str) -> list:
        return [(name, p)] if names else [p]

    optimizer = dlopt.MethodOptimizer(named(a, "a"), method, full_batch=True)
    optimizer.step(lambda: loss(a) + loss(b))
    before = b.detach().clone()
    settings = {"lr": 0.1} if isinstance(method, dlopt.GradientDescent) else {}
    optimizer.add_param_group({"params": named(b, "b"), **settings})
    (group,) = optimizer.param_groups
    assert group["params"] == [a, b]
    assert group.get("param_names") == (["a", "b"] if names else None)
    optimizer.step(lambda: loss(a) + loss(b))
    assert bool((b.abs() < before.abs()).all())
    with pytest.raises(ValueError, match="some parameters appear in more than one"):
        optimizer.add_param_group({"params": named(b, "b")})


def test_a_setting_written_into_the_group_is_refused_at_the_next_step() -> None:
    optimizer = dlopt.MethodOptimizer([weights()], dlopt.GradientDescent(0.1))
    optimizer.param_groups[0]["weight_decay"] = 0.1
    with pytest.raises(ValueError, match="GradientDescent reads no 'weight_decay'"):
        optimizer.step(lambda: loss(optimizer.param_groups[0]["params"][0]))


def test_a_second_rate_is_refused() -> None:
    optimizer = dlopt.MethodOptimizer([weights()], dlopt.GradientDescent(0.1))
    with pytest.raises(ValueError, match=r"lr of what joins it must be 0\.1.*, got 0\.01"):
        optimizer.add_param_group({"params": [weights()], "lr": 0.01})
    groups = [{"params": [weights()]}, {"params": [weights()]}]
    with pytest.raises(ValueError, match="one parameter group, got a second"):
        dlopt.MethodOptimizer(groups, dlopt.GradientDescent(0.1))


def test_a_group_that_is_appended_by_hand_is_refused_at_the_next_step() -> None:
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    optimizer = dlopt.MethodOptimizer([a], dlopt.LBFGS())
    optimizer.param_groups.append({"params": [b]})
    with pytest.raises(ValueError, match=r"got 2, of \[1, 1\] parameters: add_param_group joins"):
        optimizer.step(lambda: a.square().sum() + b.square().sum())
    optimizer.param_groups.clear()
    with pytest.raises(ValueError, match="one parameter group, got 0"):
        optimizer.step(lambda: a.square().sum())


def test_parameters_that_are_not_dense_or_share_memory_are_named() -> None:
    w = torch.arange(12.0).reshape(3, 4)

    def refused(message: str, *tensors: Tensor) -> None:
        with pytest.raises(ValueError, match=message):
            dlopt.MethodOptimizer([nn.Parameter(t) for t in tensors], dlopt.LBFGS())

    refused(r"must hold numbers, got one on the meta device", torch.ones(2, device="meta"))
    refused(r"must be dense, got one of layout torch\.sparse_coo", w.to_sparse())
    refused(r"hold each entry once, got shape \[5, 2\] of strides \(0, 1\)", w[0, :2].expand(5, 2))
    refused(r"share memory, got shapes \[3, 4\] and \[4, 3\]", w, torch.ones(2), w.T)
    refused(r"share memory, got shapes \[3, 3\] and \[3\]", w[:, 1:], w[:, 0], w[2, 1:])
    refused(r"share memory, got shapes \[12\] and \[2\]", w[1:, 3], w.flatten())
    columns = [nn.Parameter(t) for t in (w[:, ::2], w[:, 1::2], torch.ones(0), torch.tensor(1.0))]
    optimizer = dlopt.MethodOptimizer(columns, dlopt.LBFGS())
    for _ in range(8):
        optimizer.step(lambda: sum((p - 2).square().sum() for p in columns))
    torch.testing.assert_close(w, torch.full((3, 4), 2.0))
