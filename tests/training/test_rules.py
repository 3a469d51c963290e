"""The rules are those of torch.optim, and pure."""

import pytest
import torch

from dlopt.training.rules import SGD, Adam

RULES = [
    (SGD(), lambda p: torch.optim.SGD(p, lr=0.1)),
    (SGD(momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    (Adam(), lambda p: torch.optim.Adam(p, lr=0.1)),
    (
        Adam(rho1=0.5, rho2=0.9, delta=1e-3),
        lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.5, 0.9), eps=1e-3),
    ),
]


@pytest.mark.parametrize(("rule", "optimizer"), RULES, ids=[repr(rule) for rule, _ in RULES])
def test_rules_are_those_of_torch(rule, optimizer):
    theirs = torch.linspace(-2, 2, 6).double().requires_grad_(True)
    theta = theirs.detach().clone()
    their = optimizer([theirs])
    memory = rule.init(theta)
    for t in range(1, 30):
        grad = (theta**3 - theta).detach()
        theirs.grad = theirs.detach() ** 3 - theirs.detach()
        their.step()
        kept = [m.clone() for m in memory]
        u, new = rule.direction(grad, memory, t)
        assert all(map(torch.equal, memory, kept))  # pure
        theta, memory = theta - 0.1 * u, new
        torch.testing.assert_close(theta, theirs.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(momentum=1.0), r"momentum must be in \[0, 1\), got 1.0"),
        (lambda: SGD(momentum=float("nan")), "got nan"),
        (lambda: Adam(rho1=-0.1), "rho1 .* got -0.1"),
        (lambda: Adam(rho2=1.0), "rho2 .* got 1.0"),
    ],
)
def test_rules_reject(make, message):
    with pytest.raises(ValueError, match=message):
        make()
