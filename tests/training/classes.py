"""Three classes of points, and small networks that tell them apart."""

import torch
from torch import nn

from dlopt.lesson.networks import mlp


def classes(m=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(m, 4, generator=generator).double()
    return inputs, (inputs.sum(dim=1) > 0).long() + (inputs[:, 0] > 1).long()


def build(generator):
    return mlp([4, 6, 3], generator, dtype=torch.float64)


def build_unbounded(generator):
    return mlp([4, 6, 3], generator, activation=nn.ReLU, dtype=torch.float64)


def seeded(seed):
    return torch.Generator().manual_seed(seed)
