"""Averages over the iterates of a training: Polyak's, and the exponential one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dlopt.module_average import ModuleAverage


def polyak_averages(iterates: Tensor) -> Tensor:
    r"""Return the mean of the first t iterates, for each t.

    .. math:: \hat\theta^{(t)} = \frac1t \sum_{i=1}^t \theta^{(i)}

    Section 8.7.3 (Polyak & Juditsky, 1992).

    Args:
        iterates: θ⁽¹⁾, θ⁽²⁾, …, shape (T, ...).

    Returns:
        Of the same shape.

    Example:
        >>> polyak_averages(torch.tensor([4.0, 0.0, 2.0]))
        tensor([4., 2., 2.])
    """
    t = torch.arange(1, len(iterates) + 1, device=iterates.device)
    return iterates.cumsum(0) / t.view(-1, *[1] * (iterates.dim() - 1))


def exponential_averages(
    iterates: Tensor,
    decay: float,
    start: Tensor | None = None,
) -> Tensor:
    r"""Return the exponential average of the first t iterates, for each t.

    .. math:: \hat\theta^{(t)} = \alpha \hat\theta^{(t-1)} + (1 - \alpha) \theta^{(t)}

    Equation 8.39, where :math:`\hat\theta^{(0)}` isn't specified.

    Args:
        iterates: θ⁽¹⁾, θ⁽²⁾, …, shape (T, ...).
        decay: α, in [0, 1).
        start: :math:`\hat\theta^{(0)}`, of the shape of an iterate; None for θ⁽¹⁾.

    Returns:
        Of the shape of ``iterates``.

    Raises:
        ValueError: ``decay`` is outside [0, 1).

    Example:
        >>> iterates = torch.tensor([4.0, 0.0, 2.0])
        >>> exponential_averages(iterates, 0.5).tolist()
        [4.0, 2.0, 2.0]
        >>> exponential_averages(iterates, 0.5, start=torch.tensor(0.0)).tolist()
        [2.0, 1.0, 1.5]
    """
    _check_decay(decay)
    average = iterates[0] if start is None else start
    averages = []
    for theta in iterates:
        average = decay * average + (1 - decay) * theta
        averages.append(average)
    return torch.stack(averages)


def equivalent_length(decay: float) -> float:
    r"""Return of how many iterates the plain mean varies as much as the exponential average.

    .. math:: \sum_j \big((1 - \alpha) \alpha^j\big)^2 = \frac{1 - \alpha}{1 + \alpha} = \frac1n

    For iterates that scatter independently of each other around one point.

    Args:
        decay: α, in [0, 1).

    Returns:
        n = (1 + α)/(1 − α).

    Raises:
        ValueError: ``decay`` is outside [0, 1).

    Example:
        >>> equivalent_length(0.5)
        3.0
    """
    _check_decay(decay)
    return (1 + decay) / (1 - decay)


class PolyakAverage(ModuleAverage):
    r"""The mean of a module's parameters over the steps of a training.

    .. math:: \hat\theta^{(t)} = \frac1t \sum_{i=1}^t \theta^{(i)}

    Section 8.7.3 (Polyak & Juditsky, 1992). Old iterates can be left out in two ways: by ``start``
    if it is known when the parameters have arrived somewhere, and by ``power`` if not even the
    length of the training is. Then iterate i weighs about :math:`i^{power}` (Shamir & Zhang, 2013).

    Call ``update()`` after each step of any optimiser, and evaluate inside ``applied()``.
    Parameters are known by identity: a module that is compiled or wrapped, before or after, has the
    same ones. The average is the only copy of them, in float32 if they have fewer digits. Integer
    buffers are always the module's own, such as counters; the others are as well, unless they are
    averaged. A parameter that isn't finite makes the average so, and ``applied()`` says it.

    Args:
        module: Its parameters are averaged, one that is shared once; integer ones are not.
        start: Steps that come before the average, at least 0. Until then it is the newest iterate.
        power: At least 0, for all iterates alike.
        average_buffers: Whether to average floating-point buffers, too.

    Attributes:
        steps: Those that the optimiser has made.

    Raises:
        ValueError: A setting is out of its range, or the module has nothing to average.

    Example:
        >>> module = nn.Linear(1, 1, bias=False)
        >>> average = PolyakAverage(module)
        >>> for value in (4.0, 0.0, 2.0):
        ...     with torch.no_grad():
        ...         _ = module.weight.fill_(value)
        ...     average.update()
        >>> with average.applied():
        ...     print(module.weight.item())
        2.0
        >>> module.weight.item()
        2.0
    """

    def __init__(
        self, module: nn.Module, start: int = 0, power: float = 0.0, average_buffers: bool = False
    ) -> None:
        if start < 0:
            raise ValueError(f"start must be at least 0, got {start}")
        if not 0 <= power < math.inf:
            raise ValueError(f"power must be a finite number of at least 0, got {power}")
        super().__init__(module, average_buffers, start=start, power=power)

    def kept(self, t: int, steps: int) -> float:
        """Step j keeps (j − 1)/(j + power), which is 1 − 1/j if all weigh alike."""
        t -= int(self.settings["start"])
        new = range(max(t - steps, 0) + 1, t + 1)
        return math.prod((j - 1) / (j + self.settings["power"]) for j in new) if new else 0.0


class ExponentialAverage(ModuleAverage):
    r"""The average of a module's parameters that forgets old ones exponentially.

    .. math:: \hat\theta^{(t)} = \alpha \hat\theta^{(t-1)} + (1 - \alpha) \theta^{(t)}

    Equation 8.39. The equation leaves :math:`\hat\theta^{(0)}` open. Here it is θ⁽¹⁾, as in
    ``torch.optim.swa_utils``, so that the weights of the iterates sum to 1; θ⁽¹⁾ has a large one,
    :math:`\alpha^{t-1}`. With ``bias_correction`` it is 0, and the average is divided by
    :math:`1 - \alpha^t`, as in Adam: the first iterates then weigh no more than the others.

    α is per step of the optimiser: ``update(steps=10)`` after ten of them keeps
    :math:`\alpha^{10}`. For all else see ``PolyakAverage``.

    Args:
        module: Its parameters are averaged, one that is shared once; integer ones are not.
        decay: α, in [0, 1).
        bias_correction: Whether to start as if from 0 and correct for it.
        average_buffers: Whether to average floating-point buffers, too.

    Attributes:
        steps: Those that the optimiser has made.

    Raises:
        ValueError: A setting is out of its range, or the module has nothing to average.

    Example:
        >>> module = nn.Linear(1, 1, bias=False)
        >>> average = ExponentialAverage(module, decay=0.5)
        >>> for value in (4.0, 0.0, 1.0):
        ...     with torch.no_grad():
        ...         _ = module.weight.fill_(value)
        ...     average.update()
        >>> with average.applied():
        ...     print(module.weight.item())
        1.5
    """

    def __init__(
        self,
        module: nn.Module,
        decay: float,
        bias_correction: bool = False,
        average_buffers: bool = False,
    ) -> None:
        _check_decay(decay)
        super().__init__(module, average_buffers, decay=decay, bias_correction=bias_correction)

    def kept(self, t: int, steps: int) -> float:
        r"""Keep α a step; corrected, this times (1 − α^(t − steps))/(1 − α^t)."""
        decay = self.settings["decay"]
        if t == steps:
            return 0.0
        if not self.settings["bias_correction"]:
            return decay**steps
        return decay**steps * (1 - decay ** (t - steps)) / (1 - decay**t)


def _check_decay(decay: float) -> None:
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1), got {decay}")
