"""Supervised pretraining: simpler networks or tasks first, whose layers are a start for the next.

There is no training loop here. ``fit`` brings it; and ``greedy_stages`` and ``hint_stages`` yield
one stage after the other to whoever has trained the last one in place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dlopt.frozen import Frozen as Frozen
from dlopt.frozen import frozen as frozen
from dlopt.frozen import thawed as thawed
from dlopt.hints import distillation_loss as distillation_loss
from dlopt.hints import distillation_targets as distillation_targets
from dlopt.hints import hint_stages as hint_stages
from dlopt.hints import train_with_hints as train_with_hints
from dlopt.stages import Fit, Stages, run_stages, start
from dlopt.stages import Stage as Stage
from dlopt.weight_layers import copy_layers, require_layers, split


class WithInput(nn.Sequential):
    """Layers, beside whose outputs their input is passed on.

    Feature maps of the input's size are joined channel by channel; else both are flattened.

    Example:
        >>> WithInput(nn.Linear(2, 3))(torch.zeros(5, 2)).shape
        torch.Size([5, 5])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the layers' outputs, then the input, along dimension 1."""
        out: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        if out.shape[2:] != input.shape[2:]:
            out, input = out.flatten(1), input.flatten(1)
        return torch.cat([out, input], dim=1)


def greedy_stages(
    blocks: Iterable[nn.Module],
    head: Callable[[int], nn.Module],
    *,
    fine_tune: str = "end",
    raw_input: bool = False,
) -> Stages:
    """Return the stages of ``greedy_pretrain``, one by one; see there for the arguments.

    A stage starts from a copy of what the one before was when this one was asked for. So many
    networks can be trained in lockstep, stage by stage, as one.

    Returns:
        The stages; at its end the generator returns the network.

    Raises:
        ValueError: There are no blocks, ``fine_tune`` is another word, or a block or head isn't a
            module.

    Example:
        >>> blocks = [nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3)]
        >>> [s.name for s in greedy_stages(blocks, lambda k: nn.Linear(4, 2), fine_tune="each")]
        ['layer 1', 'layer 2', 'fine-tuning 2', 'layer 3', 'fine-tuning 3']
    """
    blocks = list(blocks)
    if not blocks:
        raise ValueError("blocks must hold at least one, got none")
    if fine_tune not in ("end", "each", "none"):
        raise ValueError(f'fine_tune must be "end", "each" or "none", got {fine_tune!r}')
    heads = [head(k) for k in range(1, len(blocks) + 1)]
    for name, modules in (("block", blocks), ("head", heads)):
        for k, module in enumerate(modules, 1):
            if not isinstance(module, nn.Module):
                raise ValueError(f"{name} {k} must be a module, got {module!r}")
    numbers = range(2, len(blocks) + 1)  # after the first block all is trained already
    tuned = {"end": numbers[-1:], "each": numbers, "none": numbers[:0]}[fine_tune]
    return _greedy_stages(blocks, heads, tuned, raw_input)


def _greedy_stages(
    blocks: list[nn.Module], heads: list[nn.Module], tuned: range, raw_input: bool
) -> Stages:
    """Add block after block; train all of them where their number says so."""
    index, count = 0, len(blocks) + len(tuned)
    trained: list[nn.Module] = []
    network = nn.Sequential()
    for k, (block, head) in enumerate(zip(blocks, heads, strict=True), 1):
        below = [frozen(nn.Sequential(*trained))] if trained else []
        stage = Stage(f"layer {k}", start(*below, block, head), None, index, count)
        yield stage
        index += 1
        network = start(*trained, *list(stage.module)[-2:])
        if k in tuned:
            yield Stage(f"fine-tuning {k}", network, None, index, count)
            index += 1
            network = start(*network)
        trained = list(network)[:-1]
        if raw_input:
            trained = [WithInput(*trained)]
    return network


def greedy_pretrain(
    blocks: Iterable[nn.Module],
    head: Callable[[int], nn.Module],
    fit: Fit,
    *,
    fine_tune: str = "end",
    raw_input: bool = False,
    callback: Callable[[Stage], Any] | None = None,
) -> nn.Sequential:
    """Train a deep network greedily: one hidden block after the other, then all of them jointly.

    Stage k trains block k and a head of its own on what the blocks below, frozen, make of the
    data; all heads but the last are thrown away. Section 8.7.4 (Bengio et al., 2007). Heads with
    hidden layers ask less of a block than that its outputs be separable by a plane (Belilovsky et
    al., 2019).

    Args:
        blocks: K hidden blocks in order, such as ``nn.Sequential(nn.Linear(64, 64), nn.ReLU())``.
        head: Makes the network on top of k blocks, k = 1, …, K, as deep as it likes.
        fit: Trains the module of a stage in place; see ``Stage``.
        fine_tune: "end": after the last block all is trained jointly; "each": after each block
            from the second on all so far; "none".
        raw_input: Whether blocks from the second on get the network's input, too, behind what the
            block below gives: along dimension 1, flattened where the sizes of maps differ.
        callback: Called with each stage after its training.

    Returns:
        Blocks and last head as one network, trainable throughout. What was given stays as it is,
        whatever ``fit`` does.

    Raises:
        ValueError: As ``greedy_stages``; or after ``fit``: what is frozen has changed, or nothing
            else has.

    Example:
        >>> x, y = torch.eye(2), torch.tensor([1, 0])
        >>> def fit(stage):
        ...     parameters = [p for p in stage.module.parameters() if p.requires_grad]
        ...     optimizer = torch.optim.SGD(parameters, lr=0.1)
        ...     for _ in range(5):
        ...         optimizer.zero_grad()
        ...         nn.functional.cross_entropy(stage.module(x), y).backward()
        ...         optimizer.step()
        >>> blocks = [nn.Sequential(nn.Linear(2, 2), nn.Tanh()) for _ in range(2)]
        >>> network = greedy_pretrain(blocks, lambda k: nn.Linear(2, 2), fit,
        ...     callback=lambda stage: print(stage.name))
        layer 1
        layer 2
        fine-tuning 2
        >>> len(network)
        3
    """
    return run_stages(
        greedy_stages(blocks, head, fine_tune=fine_tune, raw_input=raw_input), fit, callback
    )


def deepen(
    trained: nn.Module, deeper: nn.Sequential, *, first: int = 4, last: int = 3
) -> nn.Sequential:
    """Start a deeper network with the first and the last layers of a trained one.

    Section 8.7.4: a network of 11 weight layers starts those of up to 19, whose middle layers are
    random (Simonyan & Zisserman, 2015). All of it is then trained jointly.

    Args:
        trained: Its values are copied; it stays as it is.
        deeper: Freshly initialised; it stays as it is.
        first: How many weight layers are copied at the bottom; what follows a layer, such as its
            norm with its running averages, belongs to it.
        last: How many at the top.

    Returns:
        A copy of ``deeper`` with the values of these layers; all others are its own, to the bit.

    Raises:
        ValueError: ``first`` or ``last`` is out of its range, or two layers differ in shape,
            dtype or kind.

    Example:
        >>> def network(depth):
        ...     return nn.Sequential(*(nn.Linear(2, 2) for _ in range(depth)))
        >>> trained, deeper = network(3), network(5)
        >>> new = deepen(trained, deeper, first=1, last=2)
        >>> [torch.equal(new[i].weight, trained[j].weight) for i, j in [(0, 0), (3, 1), (4, 2)]]
        [True, True, True]
        >>> [torch.equal(new[i].weight, deeper[i].weight) for i in [1, 2]]
        [True, True]
    """
    require_layers("first", first, 0, trained, "trained")
    require_layers("last", last, 0, trained, "trained")
    for name, network in (("trained", trained), ("deeper", deeper)):
        require_layers("first + last", first + last, 1, network, name)
    new = copy.deepcopy(deeper)
    layers = [*range(first), *range(-last, 0)]
    copy_layers(trained, new, layers, ("trained", "deeper"))
    return new


def transfer(
    trained: nn.Module, fresh: nn.Sequential, layers: int, *, freeze: bool = False
) -> nn.Sequential:
    """Start a network with the first layers of one that was trained, perhaps on another task.

    Section 8.7.4 (Yosinski et al., 2014). The control is to start with layers trained on the same
    task: what it loses, frozen, is what layers lose that no longer adapt to each other.

    Args:
        trained: Its values are copied; it stays as it is.
        fresh: Freshly initialised; it stays as it is.
        layers: How many weight layers are copied, from 0; what follows a layer, such as its norm
            with its running averages, belongs to it.
        freeze: Whether they become a ``Frozen`` part at the start of the sequence.

    Returns:
        A copy of ``fresh`` with the values of these layers; all others are its own, to the bit.

    Raises:
        ValueError: ``layers`` is out of its range, two layers differ in shape, dtype or kind, or
            what is to be frozen ends inside a block.

    Example:
        >>> trained = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 5))
        >>> fresh = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 4))
        >>> transfer(trained, fresh, 1, freeze=True)
        Sequential(
          (0): Frozen(
            (0): Linear(in_features=2, out_features=3, bias=True)
            (1): Tanh()
          )
          (1): Linear(in_features=3, out_features=4, bias=True)
        )
    """
    require_layers("layers", layers, 0, trained, "trained")
    require_layers("layers", layers, 0, fresh, "fresh")
    new = copy.deepcopy(fresh)
    copy_layers(trained, new, list(range(layers)), ("trained", "fresh"))
    if not freeze or not layers:
        return new
    below, above = split(new, layers)
    return nn.Sequential(Frozen(*below), *above)
