"""`MethodOptimizer` saved, loaded and copied: what is remembered, and what must be forgotten."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import dlopt
from tests.small_network import METHODS, flat, task

each = pytest.mark.parametrize("name", METHODS)


@each
def test_a_deep_copy_goes_its_own_way(name: str) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])
    optimizer.step(lambda: mse_loss(net(x), y))
    twin, twin_optimizer = copy.deepcopy((net, optimizer))
    twin_optimizer.step(lambda: mse_loss(twin(x), y))
    assert not torch.equal(flat(twin), flat(net))
    optimizer.step(lambda: mse_loss(net(x), y))
    assert torch.equal(flat(twin), flat(net))


@each
def test_resumes_identically_from_a_checkpoint(name: str) -> None:
    def run(steps: int, optimizer: dlopt.MethodOptimizer, net: nn.Module) -> None:
        _, x, y = task()
        for _ in range(steps):
            optimizer.step(lambda: mse_loss(net(x), y))

    net, _, _ = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])
    run(4, optimizer, net)
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    run(5, optimizer, net)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other, _, _ = task()
    other.load_state_dict(saved["net"])
    resumed = dlopt.MethodOptimizer(other.parameters(), METHODS[name])
    resumed.load_state_dict(saved["optimizer"])
    before = resumed.state_dict()["state"][0]
    for key, value in saved["optimizer"]["state"][0].items():
        torch.testing.assert_close(before[key], value, rtol=0.0, atol=0.0)
    run(5, resumed, other)
    assert torch.equal(flat(other), flat(net))


@each
def test_a_checkpoint_holds_what_a_method_remembers_and_nothing_else(name: str) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name])
    optimizer.step(lambda: mse_loss(net(x), y))
    held = set(optimizer.state_dict()["state"].get(0, {}))
    assert held & {"x", "value", "grad", "reason"} == set()


def test_loading_forgets_the_last_state() -> None:
    """With the same parameters and a full batch the old velocity must not go on."""
    weights = nn.Parameter(torch.ones(1, dtype=torch.float64))
    method = dlopt.GradientDescent(learning_rate=0.1, momentum=0.9)
    optimizer = dlopt.MethodOptimizer([weights], method, full_batch=True)
    for _ in range(3):
        optimizer.step(lambda: (weights**2).sum())
    saved = optimizer.state_dict()
    saved["state"][0]["velocity"] = torch.zeros(1, dtype=torch.float64)
    optimizer.load_state_dict(saved)
    before = weights.detach().clone()
    optimizer.step(lambda: (weights**2).sum())
    torch.testing.assert_close(weights.detach(), before - 0.1 * 2 * before)


def test_a_checkpoint_with_more_than_is_remembered_restores_what_is() -> None:
    """Values and gradients belong to the loss of the step to come, not to the one that is over."""
    weights = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = dlopt.MethodOptimizer([weights], dlopt.GradientDescent(0.1, momentum=0.9))
    optimizer.step(lambda: (weights**2).sum())
    saved, velocity = optimizer.state_dict(), optimizer.state[weights]["velocity"]
    other = torch.full((1,), 7.0, dtype=torch.float64)
    saved["state"][0] |= {"x": other, "value": other.sum(), "grad": other, "unheard_of": 1}
    optimizer.load_state_dict(saved)
    before = weights.detach().clone()
    assert float(optimizer.step(lambda: (weights**2).sum())) == pytest.approx(float(before**2))
    torch.testing.assert_close(weights.detach(), before - 0.1 * (0.9 * velocity + 2 * before))


@pytest.mark.parametrize("method", [dlopt.BFGS(), dlopt.LBFGS(), dlopt.ConjugateGradient()])
def test_a_checkpoint_older_than_units_is_taken_up_whole(method) -> None:
    """It has no D. One that lacks what isn't None at first is no memory."""
    runs = []
    for lacking in ({}, {"D"}, {"D", "M", "pairs"}):
        w = nn.Parameter(torch.tensor([0.3, -2.0, 1.0], dtype=torch.float64))
        optimizer = dlopt.MethodOptimizer([w], method)
        for _ in range(4):
            optimizer.step(lambda w=w: torch.cosh(w * w.detach().new_tensor([1, 2, 3])).sum())
        saved = optimizer.state_dict()
        for name in lacking & saved["state"][0].keys():
            del saved["state"][0][name]
        optimizer.load_state_dict(saved)
        optimizer.step(lambda w=w: torch.cosh(w * w.detach().new_tensor([1, 2, 3])).sum())
        runs.append(w.detach().clone())
    assert torch.equal(runs[1], runs[0]) and not torch.equal(runs[2], runs[0])


# Whose checkpoint it is


def foreign(name: str) -> dict:
    """A checkpoint of another optimiser on the same network."""
    net, x, y = task()
    make = {
        "torch's LBFGS": lambda p: torch.optim.LBFGS(p, max_iter=2),
        "Adam": torch.optim.Adam,
        "another method": lambda p: dlopt.MethodOptimizer(p, dlopt.BFGS()),
    }[name]
    optimizer = make(net.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = mse_loss(net(x), y)
        loss.backward()
        return loss.detach()

    optimizer.step(closure)
    return optimizer.state_dict()


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("torch's LBFGS", "another optimizer on shapes it does not name"),
        ("Adam", "another optimizer on shapes it does not name"),
        ("another method", r"BFGS on \[\[4, 3\], \[4\], \[1, 4\], \[1\]\]"),
    ],
)
def test_a_foreign_checkpoint_is_refused(name: str, theirs: str) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS(), full_batch=True)
    twin, _, _ = task()
    calm = dlopt.MethodOptimizer(twin.parameters(), dlopt.LBFGS(), full_batch=True)
    for n, o in ((net, optimizer), (twin, calm)):
        o.step(lambda n=n: mse_loss(n(x), y))
    message = rf"must be of LBFGS on parameters of shapes \[\[4, 3\], .*, got one of {theirs}"
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(foreign(name))
    for n, o in ((net, optimizer), (twin, calm)):
        o.step(lambda n=n: mse_loss(n(x), y))
    assert torch.equal(flat(net), flat(twin))


@pytest.mark.parametrize("shapes", [[(3, 2)], [(2, 3), (1,)], [(7,)]])
def test_a_checkpoint_of_another_size_is_refused(shapes: list[tuple[int, ...]]) -> None:
    def made(shapes: list[tuple[int, ...]]) -> dlopt.MethodOptimizer:
        parameters = [nn.Parameter(torch.ones(shape)) for shape in shapes]
        optimizer = dlopt.MethodOptimizer(parameters, dlopt.GradientDescent(0.1, 0.9))
        optimizer.step(lambda: sum((p**2).sum() for p in parameters))
        return optimizer

    with pytest.raises(ValueError, match=r"of shapes \[\[2, 3\]\], got one of GradientDescent on"):
        made([(2, 3)]).load_state_dict(made(shapes).state_dict())


def test_what_was_learned_of_fewer_parameters_is_not_taken_for_all() -> None:
    """A checkpoint from before a layer was thawed loads, and the method starts afresh."""
    net, x, y = task()
    net[2].weight.requires_grad_(False)
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS())
    for _ in range(3):
        optimizer.step(lambda: mse_loss(net(x), y))
    saved = optimizer.state_dict()
    net.requires_grad_(True)
    twin = copy.deepcopy(net)
    resumed = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS())
    fresh = dlopt.MethodOptimizer(twin.parameters(), dlopt.LBFGS())
    resumed.load_state_dict(saved)
    for n, o in ((net, resumed), (twin, fresh)):
        o.step(lambda n=n: mse_loss(n(x), y))
    assert torch.equal(flat(net), flat(twin))


def test_a_memory_is_taken_up_whole_or_not_at_all() -> None:
    """A rule for β and the default count steps since a restart, but not of the same restarts."""
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.ConjugateGradient())
    for _ in range(4):
        optimizer.step(lambda: mse_loss(net(x), y))
    twin = copy.deepcopy(net)
    rule = dlopt.ConjugateGradient(dlopt.polak_ribiere_plus, restart_every=3)
    resumed = dlopt.MethodOptimizer(net.parameters(), rule)
    resumed.load_state_dict(optimizer.state_dict())
    fresh = dlopt.MethodOptimizer(twin.parameters(), rule)
    for n, o in ((net, resumed), (twin, fresh)):
        for _ in range(5):
            o.step(lambda n=n: mse_loss(n(x), y))
    assert torch.equal(flat(net), flat(twin))


def after_steps(method, steps: int = 7) -> dlopt.MethodOptimizer:
    """An optimizer of the small network, some steps on."""
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), method)
    for _ in range(steps):
        optimizer.step(lambda: mse_loss(net(x), y))
    return optimizer


def test_a_memory_of_other_blocks_is_refused() -> None:
    """Whose turn it is, and how many have stood still, are numbers of blocks."""
    halves, thirds = [range(11), range(11, 21)], [range(7), range(7, 14), range(14, 21)]
    saved = {
        name: after_steps(dlopt.CoordinateDescent(blocks)).state_dict()
        for name, blocks in (("halves", halves), ("thirds", thirds), ("entries", None))
    }
    for theirs, blocks in (("entries", halves), ("thirds", halves), ("halves", None)):
        optimizer = after_steps(dlopt.CoordinateDescent(blocks))
        there, here = (
            r"None" if b is None else r"\(\(0, 1.*\)\)"
            for b in ({"thirds": thirds, "halves": halves, "entries": None}[theirs], blocks)
        )
        with pytest.raises(ValueError, match=f"with blocks={here}, got one with {there}: what it"):
            optimizer.load_state_dict(saved[theirs])
    after_steps(dlopt.CoordinateDescent(halves)).load_state_dict(saved["halves"])
    old = saved["entries"]
    del old["method"]["settings"]
    with pytest.raises(ValueError, match="got one with 'none that it names'"):
        after_steps(dlopt.CoordinateDescent(halves)).load_state_dict(old)


@pytest.mark.parametrize("least", [1, 2, 12])
def test_a_longer_or_shorter_history_goes_on_with_what_there_is(least: int) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), dlopt.LBFGS(history_size=least))
    optimizer.load_state_dict(after_steps(dlopt.LBFGS(history_size=5)).state_dict())
    optimizer.step(lambda: mse_loss(net(x), y))
    assert len(optimizer.state[net[0].weight]["pairs"]) == min(least, 6)


@pytest.mark.parametrize("beta", [None, dlopt.polak_ribiere_plus])
def test_a_restart_that_is_overdue_comes_at_once(beta) -> None:
    """More steps since the last one, in the checkpoint, than there may be."""
    net, x, y = task()
    method = dlopt.ConjugateGradient(beta, restart_every=3)
    optimizer = dlopt.MethodOptimizer(net.parameters(), method)
    optimizer.load_state_dict(after_steps(dlopt.ConjugateGradient(beta), 6).state_dict())
    assert optimizer.state[net[0].weight]["since_restart"] == 6
    optimizer.step(lambda: mse_loss(net(x), y))
    assert optimizer.state[net[0].weight]["since_restart"] == 0


@each
def test_a_pickled_optimizer_goes_on(name: str) -> None:
    net, x, y = task()
    optimizer = dlopt.MethodOptimizer(net.parameters(), METHODS[name], full_batch=True)
    for _ in range(2):
        optimizer.step(lambda: mse_loss(net(x), y))
    twin, twin_optimizer = pickle.loads(pickle.dumps((net, optimizer)))
    for n, o in ((net, optimizer), (twin, twin_optimizer)):
        o.step(lambda n=n: mse_loss(n(x), y))
    assert torch.equal(flat(net), flat(twin))
