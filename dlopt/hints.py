"""What a student learns from a teacher: hints for its middle layer, and softened outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlopt.frozen import frozen
from dlopt.stages import Fit, Stage, Stages, run_stages
from dlopt.weight_layers import require_layers, split


def hint_stages(
    student: nn.Sequential,
    teacher: nn.Sequential | None,
    regressor: nn.Module,
    *,
    student_layers: int,
    teacher_layers: int | None = None,
) -> Stages:
    """Return the stages of ``train_with_hints``, one by one; see there for the arguments.

    Returns:
        "hint", whose target is the first part of the teacher, then "task"; at its end the
        generator returns the student.

    Raises:
        ValueError: A number of layers is out of its range, or its last is inside a block, or one
            of teacher and its number of layers is missing.

    Example:
        >>> student = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> teacher = nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 1))
        >>> hint, task = hint_stages(student, teacher, nn.Linear(3, 9),
        ...     student_layers=1, teacher_layers=1)
        >>> hint.module
        Sequential(
          (0): Linear(in_features=2, out_features=3, bias=True)
          (1): Tanh()
          (2): Linear(in_features=3, out_features=9, bias=True)
        )
    """
    if (teacher is None) != (teacher_layers is None):
        raise ValueError(
            "teacher and teacher_layers must be given both or neither, "
            f"got {type(teacher).__name__} and {teacher_layers}"
        )
    target = None
    if teacher is not None and teacher_layers is not None:
        require_layers("teacher_layers", teacher_layers, 1, teacher, "teacher")
        target = frozen(nn.Sequential(*split(teacher, teacher_layers)[0]))
    require_layers("student_layers", student_layers, 1, student, "student")
    student, regressor = copy.deepcopy((student, regressor))
    guided = nn.Sequential(*split(student, student_layers)[0], regressor).train()
    return _hint_stages(student, guided, target)


def _hint_stages(student: nn.Sequential, guided: nn.Sequential, target: nn.Module | None) -> Stages:
    """Train the first part of the student, in place, then a copy of all of it."""
    yield Stage("hint", guided, target, 0, 2)
    task = Stage("task", copy.deepcopy(student).train(), None, 1, 2)
    yield task
    return copy.deepcopy(task.module)


def train_with_hints(
    student: nn.Sequential,
    teacher: nn.Sequential | None,
    fit: Fit,
    *,
    regressor: nn.Module,
    student_layers: int,
    teacher_layers: int | None = None,
    callback: Callable[[Stage], Any] | None = None,
) -> nn.Sequential:
    r"""Let a student's lower part learn what a teacher's layer says, then the student its task.

    .. math:: \min \frac1m \sum_i \tfrac12 \lVert u(x^{(i)}) - r(v(x^{(i)})) \rVert^2

    Here u is the teacher up to its hint layer, frozen, v the student up to the guided layer, and r
    the regressor, which is thrown away. Section 8.7.4 (Romero et al., 2015: FitNets). ``fit``
    chooses the loss; ``stage.targets`` gives :math:`u(x)`.

    Args:
        student: Such as a thin and deep network.
        teacher: Trained before, such as a wide and shallow one. None for the control: the guided
            layer then learns the labels, by what takes the regressor's place.
        fit: Trains the module of a stage in place; see ``Stage``.
        regressor: Maps the guided layer's outputs to values of the shape of the hint layer's.
        student_layers: Up to which weight layer the student is guided, from 1; what follows that
            layer, such as norm and activation, belongs to it.
        teacher_layers: Up to which weight layer the teacher is used, from 1, likewise; None
            without a teacher.
        callback: Called with each stage after its training.

    Returns:
        The student, trained. What was given stays as it is, whatever ``fit`` does.

    Raises:
        ValueError: As ``hint_stages``; or after ``fit``: what is frozen has changed, or nothing
            else has.

    Example:
        >>> student = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> teacher = nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 1))
        >>> x, y = torch.eye(2), torch.zeros(2, 1)
        >>> def fit(stage):
        ...     targets = stage.targets(x, y)
        ...     optimizer = torch.optim.SGD(stage.module.parameters(), lr=0.1)
        ...     for _ in range(5):
        ...         optimizer.zero_grad()
        ...         nn.functional.mse_loss(stage.module(x), targets).backward()
        ...         optimizer.step()
        ...     print(stage.name, tuple(targets.shape))
        >>> student = train_with_hints(student, teacher, fit, regressor=nn.Linear(3, 9),
        ...     student_layers=1, teacher_layers=1)
        hint (2, 9)
        task (2, 1)
    """
    stages = hint_stages(
        student, teacher, regressor, student_layers=student_layers, teacher_layers=teacher_layers
    )
    return run_stages(stages, fit, callback)


def distillation_targets(labels: Tensor, logits: Tensor) -> Tensor:
    """Return labels and a teacher's logits as one tensor, the targets of ``distillation_loss``.

    Args:
        labels: Class numbers, shape (m,).
        logits: What the teacher says, shape (m, C), not normalised.

    Returns:
        Shape (m, 1 + C), the dtype of ``logits``; ``targets[:, 0].long()`` are the labels.

    Raises:
        ValueError: Shapes or classes don't fit.

    Example:
        >>> distillation_targets(torch.tensor([1, 0]), torch.tensor([[0.0, 2.0], [3.0, 1.0]]))
        tensor([[1., 0., 2.],
                [0., 3., 1.]])
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "labels and logits must have shapes (m,) and (m, C), "
            f"got {tuple(labels.shape)} and {tuple(logits.shape)}"
        )
    if labels.is_floating_point() or not bool(((labels >= 0) & (labels < logits.shape[1])).all()):
        raise ValueError(f"labels must be whole numbers from 0 to {logits.shape[1] - 1}")
    return torch.cat([labels.unsqueeze(1).to(logits.dtype), logits.detach()], dim=1)


def distillation_loss(temperature: float, weight: float) -> Callable[[Tensor, Tensor], Tensor]:
    r"""Return a loss that is small where a student says what its teacher says.

    .. math:: L = (1 - w) L_{labels} + w\, T^2\, \mathrm{KL}\big(\mathrm{softmax}(t/T)
              \,\Vert\, \mathrm{softmax}(z/T)\big)

    Here z are the student's logits and t the teacher's (Hinton, Vinyals & Dean, 2015).
    :math:`T^2` keeps the gradient of the second term at its size whatever T; it is their
    cross-entropy less a constant, so that it is 0 where both agree.

    Args:
        temperature: T > 0; the larger, the more the small outputs count.
        weight: w, from 0 (labels alone) to 1 (teacher alone).

    Returns:
        A function of the outputs, shape (m, C), and ``distillation_targets``, to the mean loss.

    Raises:
        ValueError: A setting is out of its range; when called, the shapes don't fit.

    Example:
        >>> logits = torch.tensor([[0.0, 2.0], [3.0, 1.0]])
        >>> targets = distillation_targets(torch.tensor([1, 0]), logits)
        >>> distillation_loss(temperature=4.0, weight=1.0)(logits, targets)
        tensor(0.)
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be finite and > 0, got {temperature}")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be in [0, 1], got {weight}")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        shape = (len(outputs), 1 + outputs.shape[1])
        if targets.shape != shape:
            raise ValueError(
                f"targets must be distillation_targets of shape {shape}, got {tuple(targets.shape)}"
            )
        labels, logits = targets[:, 0].long(), targets[:, 1:]
        student = (outputs / temperature).log_softmax(1)
        teacher = (logits / temperature).log_softmax(1)
        apart = (teacher.exp() * (teacher - student)).sum(1).mean()  # F.kl_div is slow in replicas
        return (1 - weight) * F.cross_entropy(outputs, labels) + weight * temperature**2 * apart

    return loss
