"""What a training has to equal: a loop over torch.optim that knows nothing of the library's."""

import torch
from torch import nn

from dlopt.training.minibatches import Minibatches
from tests.training.classes import seeded

EXACT = {torch.float64: {"rtol": 1e-12, "atol": 1e-12}, torch.float32: {"rtol": 1e-6, "atol": 1e-6}}


def by_hand(module, make, task, plan, *, seed):
    """Train with torch.optim alone; yield the losses of each epoch."""
    optimizer = make(module.parameters())
    rate = optimizer.param_groups[0]["lr"]
    minibatches = Minibatches(len(task.data[0]), plan.batch_size, [seed])
    seen, total = 0, plan.epochs * len(task.data[0])
    for epoch in range(plan.epochs + 1):
        if epoch:
            for (batch,) in minibatches.epoch():
                x, y = task.data[0][batch], task.data[1][batch]
                optimizer.zero_grad()
                value = task.loss(module(x), y)
                if plan.clip:  # what is clipped is the gradient of all of J
                    theta = nn.utils.parameters_to_vector(module.parameters())
                    value = value + task.weight_decay / 2 * theta @ theta
                value.backward()
                if plan.clip:
                    nn.utils.clip_grad_norm_(module.parameters(), plan.clip)
                if plan.schedule:
                    optimizer.param_groups[0]["lr"] = rate * plan.schedule(seen / total)
                optimizer.step()
                seen += len(batch)
        module.eval()
        with torch.no_grad():
            theta = torch.cat([p.reshape(-1) for p in module.parameters() if p.requires_grad])
            penalty = task.weight_decay / 2 * theta @ theta
            losses = [task.loss(module(x), y) for x, y in task.parts.values()]
        module.train()
        yield losses[0] + penalty, losses[1]


def assert_as_by_hand(grid, build, optimizer, settings, tasks, plan, tolerance):
    """Losses in the course of training, parameters and buffers at its end."""
    for i, (seed, rate) in enumerate(zip(grid.seeds, grid.learning_rates, strict=True)):
        module = build(seeded(seed))
        decay = 0.0 if plan.clip else tasks[i].weight_decay
        losses = by_hand(
            module,
            lambda p, r=rate, d=decay: optimizer(p, lr=r, weight_decay=d, **settings),
            tasks[i], plan, seed=seed,
        )  # fmt: skip
        train_losses, test_losses = map(torch.stack, zip(*losses, strict=True))
        torch.testing.assert_close(grid.train_loss[:, i, i], train_losses.double(), **tolerance)
        torch.testing.assert_close(grid.test_loss[:, i, i], test_losses.double(), **tolerance)
        alone = grid.network(i, i)
        assert repr(alone) == repr(module)
        torch.testing.assert_close(alone.state_dict(), module.state_dict(), **tolerance)
