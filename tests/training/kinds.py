"""A small network of each kind, with data that it can learn from."""

import torch
from torch import nn
from torch.nn import functional as F

from dlopt import BatchNorm


class Residual(nn.Module):
    """A skip around two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.inner = nn.Linear(6, 8), nn.Linear(8, 8)
        self.last = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        h = self.first(x).tanh()
        return self.last(h + F.gelu(self.inner(h)))


class Heads(nn.Module):
    """An auxiliary head, which is dropped in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.lower, self.upper = nn.Linear(6, 8), nn.Linear(8, 8)
        self.aside, self.main = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        low = self.lower(x).relu()
        main = self.main(self.upper(low).relu())
        return (main, self.aside(low)) if self.training else main


def heads_loss(outputs, targets):
    """The main head's loss, and 0.3 of the other's where there is one."""
    if isinstance(outputs, torch.Tensor):
        return F.cross_entropy(outputs, targets)
    return F.cross_entropy(outputs[0], targets) + 0.3 * F.cross_entropy(outputs[1], targets)


class Norm(nn.Module):
    """Batch norm by plain operations on tensors, with running statistics."""

    def __init__(self, n):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(n)), nn.Parameter(torch.zeros(n))
        self.register_buffer("running_mean", torch.zeros(n))
        self.register_buffer("running_var", torch.ones(n))

    def forward(self, x):
        if self.training:
            var, mean = torch.var_mean(x, dim=0, correction=0)
            with torch.no_grad():
                self.running_mean.mul_(0.9).add_(0.1 * mean)
                self.running_var.mul_(0.9).add_(0.1 * var)
        else:
            mean, var = self.running_mean, self.running_var
        return self.gamma * (x - mean) / (var + 1e-8).sqrt() + self.beta


class Recurrent(nn.Module):
    """A cell over six steps of time."""

    def __init__(self, cell):
        super().__init__()
        self.cell, self.last = cell(1, 5), nn.Linear(5, 3)

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t : t + 1], state)
        return self.last(state[0] if isinstance(state, tuple) else state)


class Tokens(nn.Module):
    """Embedded words, their mean, and the embedding once more as the last layer's weights."""

    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(7, 5, padding_idx=0), nn.Linear(5, 7)
        self.last.weight = self.words.weight

    def forward(self, x):
        return self.last(self.words((x.abs() * 3).long().clamp(max=6)).mean(dim=1))


class Constant(nn.Module):
    """A layer that is not trained, and a buffer that never changes."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8).requires_grad_(False), nn.Linear(8, 3)
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        return self.last(self.first(x).tanh() * self.scale)


def images(*layers, width):
    return nn.Sequential(nn.Unflatten(1, (1, 2, 3)), *layers, nn.Flatten(), nn.Linear(width, 3))


# No bias before a norm: what it should learn is nothing, and Adam would magnify the rounding. And
# no kink behind one, where it would decide.
KINDS = {
    "linear": lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)),
    "batch norm": lambda: nn.Sequential(
        nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)
    ),
    "batch norm, not affine": lambda: nn.Sequential(
        nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8, momentum=0.3, affine=False), nn.Tanh(),
        nn.Linear(8, 3),
    ),
    "own batch norm": lambda: nn.Sequential(
        nn.Linear(6, 8, bias=False), Norm(8), nn.Tanh(), nn.Linear(8, 3)
    ),
    "dlopt's batch norm": lambda: nn.Sequential(
        nn.Linear(6, 8, bias=False), BatchNorm(8), nn.Tanh(), nn.Linear(8, 3)
    ),
    "dlopt's batch norm of images": lambda: images(
        BatchNorm(1), nn.Conv2d(1, 4, 2, bias=False), BatchNorm(4, decay=0.5), nn.Tanh(), width=8
    ),
    "layer norm": lambda: nn.Sequential(
        nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)
    ),
    "skip": Residual,
    "heads": Heads,
    "convolution": lambda: images(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.SiLU(),
        nn.Conv2d(4, 4, 2), nn.GroupNorm(1, 4), nn.Tanh(), width=8,
    ),
    "pooling": lambda: images(
        nn.Conv2d(1, 4, 2, padding=1), nn.MaxPool2d(2, 1), nn.Tanh(), nn.AdaptiveAvgPool2d(1),
        width=4,
    ),
    "convolution of a sequence": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)
    ),
    "GRU cell": lambda: Recurrent(nn.GRUCell),
    "LSTM cell": lambda: Recurrent(nn.LSTMCell),
    "RNN cell": lambda: Recurrent(nn.RNNCell),
    "ReLU cell": lambda: Recurrent(lambda a, b: nn.RNNCell(a, b, nonlinearity="relu")),
    "tied embedding": Tokens,
    "constant layer": Constant,
}  # fmt: skip


def kind(name, dtype=torch.float64):
    """How to build a network of this kind from a generator alone."""

    def build(generator):
        with torch.random.fork_rng():
            module = KINDS[name]().to(dtype)
        with torch.no_grad():
            for p in module.parameters():
                p.uniform_(-0.5, 0.5, generator=generator)
        return module

    return build


def points(m=48, seed=0, dtype=torch.float64):
    """Six numbers, and which of three sums of two is the largest."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, 6, generator=generator, dtype=torch.float64)
    return x.to(dtype), x.view(m, 3, 2).sum(dim=2).argmax(dim=1)
