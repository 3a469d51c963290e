r"""The 27 nonlinear regression problems of NIST's Statistical Reference Datasets, from both starts.

The data, the starts, the certified parameters and the certified sum of squares (11 digits, from two
algorithms in 128-bit arithmetic) are in ``nist_strd.json``. Each model is written as NIST states it
and maps the parameters b, (n,), and the predictor x, (m,), to the predictions, (m,); the residuals
are $r_i = \eta(x_i, b) - y_i$. The models are literal: outside their domain values are NaN.

NIST/ITL StRD, Dataset Archives, Nonlinear Regression (1999). The data are in the public domain.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.problem import Problem

Model = Callable[[Tensor, Tensor], Tensor]
DATA: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "nist_strd.json").read_text(encoding="utf8")
)


def _tensor(values: object) -> Tensor:
    """In float64."""
    return torch.tensor(values, dtype=torch.float64)


# --- The models -----------------------------------------------------------------------------------


def _polynomial(b: Tensor, x: Tensor) -> Tensor:
    """The sum of b_k x^k."""
    return torch.stack([x**k for k in range(len(b))], -1) @ b


def _rational(degree: int) -> Model:
    """A quotient of polynomials; the denominator begins with 1."""

    def model(b: Tensor, x: Tensor) -> Tensor:
        below = torch.cat((torch.ones_like(b[:1]), b[degree + 1 :]))
        return _polynomial(b[: degree + 1], x) / _polynomial(below, x)

    return model


def _chwirut(b: Tensor, x: Tensor) -> Tensor:
    """Ultrasonic response against distance."""
    return torch.exp(-b[0] * x) / (b[1] + b[2] * x)


def _enso(b: Tensor, x: Tensor) -> Tensor:
    """Three cycles: of a year, and of two periods to be found."""
    out = b[0].expand_as(x)
    for period, cosine, sine in ((12.0, b[1], b[2]), (b[3], b[4], b[5]), (b[6], b[7], b[8])):
        angle = 2 * math.pi * x / period
        out = out + cosine * torch.cos(angle) + sine * torch.sin(angle)
    return out


def _gauss(b: Tensor, x: Tensor) -> Tensor:
    """Two bells on an exponential baseline."""
    bells = [b[k] * torch.exp(-((x - b[k + 1]) ** 2) / b[k + 2] ** 2) for k in (2, 5)]
    return b[0] * torch.exp(-b[1] * x) + bells[0] + bells[1]


def _lanczos(b: Tensor, x: Tensor) -> Tensor:
    """Three decays."""
    return torch.exp(-torch.outer(x, b[1::2])) @ b[::2]


MODELS: dict[str, Model] = {
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": lambda b, x: b[0] * (1 - torch.exp(-b[1] * x)),
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "Eckerle4": lambda b, x: b[0] / b[1] * torch.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "ENSO": _enso,
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _rational(3),
    "Kirby2": _rational(2),
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": lambda b, x: b[0] * (x * x + x * b[1]) / (x * x + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * torch.exp(b[1] / (x + b[2])),
    "MGH17": lambda b, x: b[0] + b[1] * torch.exp(-x * b[3]) + b[2] * torch.exp(-x * b[4]),
    "Misra1a": lambda b, x: b[0] * (1 - torch.exp(-b[1] * x)),
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "Nelson": lambda b, x: b[0] - b[1] * x[0] * torch.exp(-b[2] * x[1]),  # of log y
    "Rat42": lambda b, x: b[0] / (1 + torch.exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + torch.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda b, x: b[0] - b[1] * x - torch.arctan(b[2] / (x - b[3])) / math.pi,
    "Thurber": _rational(3),
}


# Sums of squares that NIST doesn't list: where a model is stationary as it stands, and where it
# becomes one with fewer parameters, as two decays become one, or at infinity.
OTHER_MINIMA: dict[str, tuple[float, ...]] = {
    "Hahn1": (29.913414460736938, 30.863984568984478, 31.587666172860665),  # the last at infinity
    "Lanczos1": (4.2906202073965785e-6,),  # of two decays
    "Lanczos2": (4.2982208812457815e-6,),
    "Lanczos3": (4.3465532783692565e-6,),
    "Rat43": (1076461.5963733331,),  # of a constant
}


# --- The problems ---------------------------------------------------------------------------------


def observations(name: str) -> tuple[Tensor, Tensor]:
    """The predictor, (m,) or (2, m), and what the model of this name is to predict, (m,)."""
    x, y = _tensor(DATA[name]["x"]), _tensor(DATA[name]["y"])
    return x, torch.log(y) if name == "Nelson" else y


def _problems(name: str, model: Model) -> list[Problem]:
    """A model from NIST's two starts, the farther one first."""
    (x, y), found = observations(name), DATA[name]
    return [
        Problem(
            f"{name}_{k + 1}",
            lambda b: model(b, x) - y,
            _tensor(start),
            found["minimum"],
            OTHER_MINIMA.get(name, ()),
            minimizer=_tensor(found["parameters"]),
            note=f"{found['level']} level of difficulty",
            source=f"NIST StRD {name}, start {k + 1}",
        )
        for k, start in enumerate(found["starts"])
    ]


PROBLEMS: tuple[Problem, ...] = tuple(p for name in MODELS for p in _problems(name, MODELS[name]))
