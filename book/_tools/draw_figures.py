"""Draw the two pictures that are no notebook's: the landing page's valley, the legend of methods.

::

    python book/_tools/draw_figures.py     # writes book/_static/{valley,methods}.svg

The valley is measured here. Run this again when a change of the library changes Newton's count.
"""

from __future__ import annotations

import io
from pathlib import Path as File
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch

import dlopt
from dlopt.lesson.plotting import BLUE, METHODS, VERMILLION, figure, method_style
from dlopt.lesson.problems import rosenbrock

STATIC = File(__file__).resolve().parents[1] / "_static"
WIDTH, HEIGHT = 720, 400
X, Y = (-1.75, 1.75), (-0.55, 1.75)  # the window, in the units of the problem
TARGET = 1e-10  # both methods run until the objective is below
RATES = (1e-3, 1.4e-3, 2e-3, 2.8e-3)  # gradient descent gets the best of these


def run(method: dlopt.Method[Any], max_steps: int) -> dlopt.Path:
    """Run a method from the standard start down to the target."""
    f = rosenbrock()
    reached = lambda state: float(state.value) <= TARGET  # noqa: E731
    return dlopt.minimize(f, f.x0, method, max_steps=max_steps, callback=reached)


def tuned_gradient_descent() -> tuple[float, dlopt.Path]:
    """Return the learning rate that needs the fewest steps, and its run."""
    paths = {r: run(dlopt.GradientDescent(r), 20_000) for r in RATES}
    arrived = {r: p for r, p in paths.items() if float(p.value) <= TARGET}
    best = min(arrived, key=lambda r: len(arrived[r].states))
    return best, arrived[best]


def points(xy: npt.NDArray[np.float64]) -> str:
    """Return points of the problem, shape (k, 2), as SVG coordinates."""
    px = (xy[:, 0] - X[0]) / (X[1] - X[0]) * WIDTH
    py = (Y[1] - xy[:, 1]) / (Y[1] - Y[0]) * HEIGHT
    pairs = [f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True)]
    return " ".join(p for p, before in zip(pairs, ["", *pairs], strict=False) if p != before)


def contours() -> list[str]:
    """Return the level lines, (1 - x)² + 100 (y - x²)² = level, solved for y."""
    lines = []
    for level in (0.3, 2, 8, 25, 70, 170, 400):
        ends = max(1 - level**0.5, X[0] - 0.1), min(1 + level**0.5, X[1] + 0.1)
        x = np.linspace(*ends, 61)
        y = np.sqrt(np.maximum(level - (1 - x) ** 2, 0)) / 10
        around = np.column_stack([[*x, *x[::-1]], [*(x**2 + y), *(x**2 - y)[::-1]]])
        lines.append(f'<polygon points="{points(around)}"/>')
    return lines


def thinned(path: dlopt.Path, distance: float = 0.006) -> npt.NDArray[np.float64]:
    """Return the trajectory without points that nobody could tell apart."""
    kept = [path.points[0]]
    for x in path.points[1:]:
        if float(torch.linalg.vector_norm(x - kept[-1])) >= distance:
            kept.append(x)
    return torch.stack([*kept, path.points[-1]]).numpy()


def label(x: int, y: int, color: str, name: str, path: dlopt.Path) -> str:
    """Return a method's name and what it spent, in its colour, with a white edge."""
    spent = f"{path.evaluations:,} evaluations".replace(",", "\u202f")
    if path.hessian_products:
        spent += f", {path.hessian_products // path.x.numel()} Hessians"
    return (
        f'<text x="{x}" y="{y}" fill="{color}" font-weight="600">{name}'
        f'<tspan x="{x}" dy="26" font-weight="400">{spent}</tspan></text>'
    )


def valley() -> str:
    """Measure and draw two methods in Rosenbrock's valley."""
    rate, descent = tuned_gradient_descent()
    newton = run(dlopt.Newton(), 1000)
    walked = points(newton.points.numpy())
    dots = "".join(
        f'<rect x="-5" y="-5" width="10" height="10" transform="translate({p}) rotate(45)"/>'
        for p in walked.split()
    )
    star = points(np.array([[1.0, 1.0]]))
    start = [float(v) for v in points(descent.points[:1].numpy()).split(",")]
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="22" fill="none" stroke-linejoin="round">',
        "<title>Gradient descent and Newton's method in Rosenbrock's valley</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#fff"/>',
        '<g stroke="#b5b5b5">',
        *contours(),
        "</g>",
        f'<polyline points="{points(thinned(descent))}" stroke="{VERMILLION}" stroke-width="5"/>',
        f'<polyline points="{walked}" stroke="{BLUE}" stroke-width="2.5"/>',
        f'<g fill="{BLUE}">{dots}</g>',
        f'<path transform="translate({star}) scale(13)" fill="#000" '
        'd="M0-1 .26-.36 .95-.31 .42.14 .59.81 0 .44-.59.81-.42.14-.95-.31-.26-.36Z"/>',
        '<g stroke="#fff" stroke-width="6" paint-order="stroke">',
        label(245, 116, VERMILLION, "Gradient descent", descent),
        label(402, 344, BLUE, "Newton's method", newton),
        f'<text x="{start[0] - 58:.0f}" y="{start[1] + 8:.0f}" fill="#333">start</text>',
        "</g>",
        "</svg>",
    ]
    for name, path in ((f"gradient descent, rate {rate:.2g}", descent), ("Newton", newton)):
        print(f"{name}: {path.evaluations} evaluations, {path.hessian_products} Hessian products")
    return "\n".join(svg) + "\n"


def legend() -> str:
    """Draw each method's colour, marker and line."""
    fig, ax = figure(4.9, 2.7)
    ax.set_axis_off()
    for name in METHODS:
        ax.plot([], [], **method_style(name))
    ax.legend(loc="center", ncols=2, frameon=False, handlelength=3, labelspacing=0.9, fontsize=11)
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dlopt"}):
        fig.savefig(out, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def main() -> None:
    """Draw and write both."""
    for name, svg in (("valley", valley()), ("methods", legend())):
        path = STATIC / f"{name}.svg"
        path.write_text(svg, encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1024:.1f} KB")


if __name__ == "__main__":
    main()
