"""The parameter group of an optimizer: what is trained, by which settings, and whose checkpoint."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dlopt.method import Method

# What PyTorch calls a setting, and what a method calls it.
_SETTINGS = {"lr": "learning_rate", "momentum": "momentum"}
# What is no setting of anybody's.
_NAMES = {"params", "param_names", "name"}


def trained(groups: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    """Return the parameters of the one group that require a gradient.

    One that is there twice, as weights that two layers share, is trained once.

    Raises:
        ValueError: There is none, they can't be one vector of float32 or float64 on one device, or
            there is another group.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> _ = layer.weight.requires_grad_(False)
        >>> trained([{"params": list(layer.parameters())}])[0] is layer.bias
        True
    """
    if len(groups) != 1:  # one may have been written into the list
        raise ValueError(
            f"MethodOptimizer trains one parameter group, got {len(groups)}, of "
            f"{[len(group['params']) for group in groups]} parameters: add_param_group joins them"
        )
    found: list[Tensor] = list({id(p): p for p in groups[0]["params"] if p.requires_grad}.values())
    if not any(p.numel() for p in found):
        raise ValueError("params must hold at least one parameter that requires grad, got none")
    different = {(p.dtype, p.device) for p in found}
    if len(different) > 1:
        named = sorted((str(dtype), str(device)) for dtype, device in different)
        raise ValueError(f"params must share one dtype and device, got {named}")
    if found[0].dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"params must be float32 or float64, got {found[0].dtype}: compute the loss in half "
            "precision by torch.autocast"
        )
    return found


def kinds(parameters: Sequence[Tensor]) -> list[tuple[Any, ...]]:
    """Return what has to stay the same for a memory of these parameters to be one."""
    return [(p.shape, p.dtype, p.device, p.layout) for p in parameters]


def check_apart(parameters: Sequence[Tensor]) -> None:
    """Raise ``ValueError`` unless each entry of all parameters has a place of its own.

    Example:
        >>> import torch
        >>> w = torch.ones(2, 3)
        >>> check_apart([w[:, :1], w[:, 1:]])
        >>> try:
        ...     check_apart([w, w.T])
        ... except ValueError as error:
        ...     print(str(error).partition(":")[0])
        params must not share memory, got shapes [2, 3] and [3, 2] that do
    """
    for p in parameters:
        if p.is_meta:
            raise ValueError("params must hold numbers, got one on the meta device")
        if p.layout is not torch.strided:
            raise ValueError(f"params must be dense, got one of layout {p.layout}")
        if p.numel() > 1 and _extent(p) < p.numel():
            raise ValueError(
                f"params must hold each entry once, got shape {list(p.shape)} of strides "
                f"{p.stride()}: clone() it before it becomes a Parameter"
            )
    before: list[Tensor] = []  # those that may reach into the next one
    for p in sorted((p for p in parameters if p.data_ptr()), key=Tensor.data_ptr):
        start = p.data_ptr()
        before = [q for q in before if q.data_ptr() + _extent(q) * q.element_size() > start]
        for q in before:
            first = (start - q.data_ptr()) // q.element_size()
            if bool(torch.isin(_places(p, first), _places(q, 0)).any()):
                raise ValueError(
                    f"params must not share memory, got shapes {list(q.shape)} and "
                    f"{list(p.shape)} that do: hand both layers one Parameter"
                )
        before.append(p)


def _extent(p: Tensor) -> int:
    """Return how many places there are from the first entry to the last, both included."""
    return 1 + sum((n - 1) * step for n, step in zip(p.shape, p.stride(), strict=True))


def _places(p: Tensor, first: int) -> Tensor:
    """Return where the entries are, counted from some place, the first one's number being given."""
    places = torch.arange(first, first + _extent(p))
    return places.as_strided(p.shape, p.stride()).flatten()


def settings_of(method: Method[Any]) -> dict[str, float]:
    """Return those settings of a method that PyTorch has a name for, by that name.

    Raises:
        ValueError: It is no method, but a class, for example.

    Example:
        >>> import dlopt
        >>> settings_of(dlopt.GradientDescent(0.5)), settings_of(dlopt.BFGS())
        ({'lr': 0.5, 'momentum': 0.0}, {})
    """
    if isinstance(method, type) or not hasattr(method, "step"):
        name = method.__name__ if isinstance(method, type) else "LBFGS"
        raise ValueError(f"method must be an instance, such as {name}(), got {method!r}")
    return {k: getattr(method, name) for k, name in _SETTINGS.items() if hasattr(method, name)}


def replace_settings(group: dict[str, Any], settings: Mapping[str, float]) -> None:
    """Give a group the settings of another method, and drop what schedulers wrote for the old one.

    Example:
        >>> group = {"params": [], "lr": 0.1, "initial_lr": 0.5}
        >>> replace_settings(group, {})
        >>> group
        {'params': []}
    """
    for key in group.keys() - _NAMES:
        del group[key]
    group.update(settings)


def configured(method: Method[Any], group: Mapping[str, Any]) -> Method[Any]:
    """Return the method with the settings that the group has now.

    Raises:
        ValueError: A setting is out of the method's range.

    Example:
        >>> import dlopt
        >>> configured(dlopt.GradientDescent(0.5), {"lr": 0.1, "momentum": 0.9})
        GradientDescent(learning_rate=0.1, momentum=0.9)
    """
    old = settings_of(method)
    if group.keys() - _NAMES != old.keys():
        check_settings(method, group)  # one may have been written into the group
    now = {key: float(group[key]) for key in old}
    if now == old:
        return method
    if now.get("lr") == 0:  # where schedules begin or end; the least number adds nothing, either
        now["lr"] = sys.float_info.min
    changed: Method[Any] = replace(
        method,  # type: ignore[type-var]
        **{_SETTINGS[key]: value for key, value in now.items()},
    )
    return changed


def check_settings(
    method: Method[Any], group: Mapping[str, Any], joined: Mapping[str, Any] | None = None
) -> None:
    """Raise ``ValueError`` where a group has a setting that nobody would read.

    Args:
        method: Reads the settings.
        group: The parameter group.
        joined: The group that it joins, whose settings hold for both; None if it is the first.

    Example:
        >>> import dlopt
        >>> check_settings(dlopt.GradientDescent(0.5), {"params": [], "lr": 0.1})
        >>> try:
        ...     check_settings(dlopt.LBFGS(), {"params": [], "lr": 0.1})
        ... except ValueError as error:
        ...     print(error)
        LBFGS reads no 'lr' of a parameter group, got 0.1
    """
    read = settings_of(method).keys()
    no_setting = set(_NAMES)
    if "lr" in read:  # what schedulers write there
        no_setting |= {"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr"}
    for key in sorted(group.keys() - read - no_setting):
        name = type(method).__name__
        raise ValueError(f"{name} reads no {key!r} of a parameter group, got {group[key]}")
    for key in sorted(read & group.keys()) if joined is not None else ():
        if joined is not None and group[key] != joined[key]:
            raise ValueError(
                f"there is one parameter group: {key} of what joins it must be {joined[key]}, "
                f"as it has, or left out, got {group[key]}"
            )


def label_of(
    method: Method[Any], group: Mapping[str, Any], owners: Sequence[Tensor]
) -> dict[str, Any]:
    """Return whose memory a checkpoint holds: the method, and which parameters it trained.

    Of the method's settings it has those without which its memory means nothing.

    Args:
        method: Has the memory.
        group: The parameter group.
        owners: Those of its parameters whose memory it is.
    """
    places = {id(p): i for i, p in enumerate(group["params"])}
    return {
        "name": type(method).__name__,
        "shapes": [list(p.shape) for p in group["params"]],
        "settings": {key: getattr(method, key) for key in getattr(method, "remembers_by", ())},
        "trained": [places[id(p)] for p in owners],
    }


def check_label(theirs: object, ours: Mapping[str, Any]) -> list[int]:
    """Return which parameters the label of a checkpoint names.

    Args:
        theirs: The label, anything if another optimizer wrote it.
        ours: The label of the one that loads it.

    Raises:
        ValueError: It is of another optimizer, method, or list of parameters, or the method's
            memory is of other settings.
    """
    found: dict[str, Any] = theirs if isinstance(theirs, dict) else {"name": "another optimizer"}
    same = all(ours[key] == found.get(key) for key in ("name", "shapes"))
    if not (same and "trained" in found):
        name = found.get("name", "a method it does not name")
        raise ValueError(
            f"state_dict must be of {ours['name']} on parameters of shapes {ours['shapes']}, "
            f"got one of {name} on {found.get('shapes', 'shapes it does not name')}"
        )
    for key, value in ours["settings"].items():
        there = found.get("settings", {}).get(key, "none that it names")
        if there != value:
            raise ValueError(
                f"state_dict must be of {ours['name']} with {key}={reprlib.repr(value)}, "
                f"got one with {reprlib.repr(there)}: what it remembers is of these"
            )
    return list(found["trained"])


class ParameterGroup(dict[str, Any]):
    """A parameter group that says why it has no learning rate."""

    def __missing__(self, key: str) -> Any:
        """Raise ``ValueError``, of what no scheduler asks for ``KeyError``."""
        if key not in ("lr", "momentum", "betas"):
            raise KeyError(key)
        raise ValueError(
            f"the parameter group has no {key!r}: its method chooses its steps itself, there is "
            "nothing to schedule; to thaw layers later, hand over all parameters at once"
        )
