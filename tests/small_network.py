"""A small network with its data, and every method at settings that train it."""

import torch
from torch import Tensor, nn

import dlopt

METHODS = {
    "gradient_descent": dlopt.GradientDescent(learning_rate=0.1, momentum=0.9),
    "steepest_descent": dlopt.SteepestDescent(),
    "exact_steepest_descent": dlopt.SteepestDescent(dlopt.exact_quadratic),
    "newton": dlopt.Newton(),
    "damped_newton": dlopt.Newton(damping=0.1),
    "truncated_newton": dlopt.TruncatedNewton(),
    "conjugate_gradient": dlopt.ConjugateGradient(),
    "polak_ribiere_plus": dlopt.ConjugateGradient(dlopt.polak_ribiere_plus, restart_every=3),
    "bfgs": dlopt.BFGS(),
    "lbfgs": dlopt.LBFGS(history_size=3),
    "coordinate_descent": dlopt.CoordinateDescent(),
    "layer_after_layer": dlopt.CoordinateDescent([range(16), range(16, 21)]),
}


def task(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor]:
    """A small network and its data."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(40, 3, generator=g, dtype=dtype)
    y = torch.sin(x[:, :1]) + 0.3 * x[:, 1:2]
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=dtype) / 2)
    return net, x, y


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])
