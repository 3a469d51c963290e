"""Small faults, put into the library one at a time: does a test of that topic notice each?

::

    python tests/mutants.py                 # all of them, as `make mutants`
    python tests/mutants.py line_search     # those of one module

A fault is made in a copy of the project, so that nothing here is touched. It counts as noticed
when the tests named beside it fail. Tests that compare with stored numbers are none of these: a
fault is noticed by what a theorem or a promise says. Exit status 1 if one survives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("dlopt", "tests", "benchmarks", "book/_tools", "pyproject.toml")
PROCESSES = 2


class Mutant(NamedTuple):
    """A fault: in a module, this text becomes that one; these tests have to notice."""

    module: str
    old: str
    new: str
    tests: tuple[str, ...]


# Module: the tests of its topic, and the faults as (old, new).
FAULTS: dict[tuple[str, ...], list[tuple[str, str]]] = {
    ("evaluation",): [
        ("return 10 * eps * abs(value)", "return 1e4 * eps * abs(value)"),
        ("return 10 * eps * abs(value)", "return 0.1 * eps * abs(value)"),
        ("return max(-low.item(), high.item())", "return high.item()"),
        ("return math.isfinite(v.sum().item()) or ", "return math.isfinite(v.sum().item()) and "),
        (" or math.isfinite(largest_entry(v))", ""),
        ("if info.tiny / info.eps <= abs(product) <= info.max:", "if True:"),
        ("(a / p).dot(b / q)) * p * q", "(a / p).dot(b / q)) * p"),
    ],
    ("curvature",): [
        ("return (rows + rows.T) / 2", "return rows + rows.T"),
        ("self._count(self.at.x.numel())", "self._count(1)"),
        ("if not self._graph.fresh:", "if False:"),
        ("_rows(pulled, [u], self.at.x).T", "_rows(pulled, [u], self.at.x)"),
        ("unit[i] = 0", "unit[i] = 1"),
        ('return "out of memory" in str(error) or', "return"),
        ('or "DefaultCPUAllocator" in str(error)', 'or "memory" in str(error)'),
        ("<= bound else None", "<= 1e300 else None"),
    ],
    ("objective",): [
        ("self.evaluations += 1", "self.evaluations += 2"),
        ("if not norm(grad - first) <= bound:", "if False:"),
        ("        self._latest = None  # frees", "        # frees"),
        ("latest.at.x is not x or not latest.fresh", "not latest.fresh"),
        ("is_finite(grad)", "True"),
        ("else output.square().sum()", "else output.square().mean()"),
        ("return dense(known)", "return list(known)"),
        ("        self._check_reached(found)\n", ""),
    ],
    ("method", "optimizer_checkpoints"): [
        ("if any(name not in memory and value is not None for", "if any(name not in memory for"),
        ("if any(name not in memory and value is not None for", "if any(False for"),
        ('reason="", **memory', "**memory"),
        ("while not state.reason:", "while True:"),
        ("x0.detach().clone()", "x0.detach()"),
    ],
    ("minimization",): [
        ("if values[-1] < least:", "if values[-1] > least:"),
        ("end = states[-1] if converged else best", "end = states[-1]"),
        ("if not record and step > 1:", "if not record:"),
        ("(not reason and rule.stalls)", "False"),
        ('stuck = reason == "line_search" or', "stuck ="),
        ("states[-1], reason = state.plain, state.reason", "reason = state.reason"),
        ("if stuck and rescaled_at - values[-1] >", "if stuck and math.inf >"),
    ],
    ("stopping", "levenberg_marquardt"): [
        ("eps ** 0.64", "eps ** 0.3"),
        ("if self._expected(self._f, state) < math.inf:", "if True:"),
        ("self._wait = len(self._refused)", "self._wait = 0"),
        ("return self._may_stand(state, fell) and", "return False and"),
        ("return fell <= 1.01 * most or", "return False or"),
        ("(all_left and gain <= early)", "(gain <= early)"),
        ("gain <= hidden and (is_rounding(H, state) or", "gain <= hidden and (True or"),
        ("gain <= hidden and (is_rounding(H, state) or", "gain <= hidden and (False or"),
        ("if all_left and too_far and", "if False and"),
        ("> J >= torch.finfo(state.x.dtype).tiny", "> J"),
        ("1e-3 * J < enough < min(J, fell)", "1e-3 * J < enough < 0"),
        ("1e-3 * J < enough < min(J, fell)", "1e-3 * J < enough < fell"),
        ("failed or (bool(state.reason) and", "failed or (False and"),
        ("size = H.size / H.unit", "size = 1.0 / H.unit"),
        ("if order < 1.1 or", "if"),
        ("if small and k >= _EARLY:", "if small and k > 0:"),
        (" or now > 0.9 * before:", ":"),
        ("return self._down is None", "return True"),
        ("(failed and self._down is None and fell > enough)", "(failed and fell > enough)"),
        ("(failed and self._down is None and fell > enough)", "(failed and self._down is None)"),
        ("and not (steep and gain < 0.01 * J)", ""),
        ("return abs(again.J - float(state.value)) <=", "return True or"),
        ("return largest_entry(again.grad) <= self._tolerance", "return True"),
        ("self._largest[-1] > 0 and not self._measured", "not self._measured"),
        ("early = VISIBLE * self._earlier_noise(k, eps)", "pass"),
        ("gain = max(gain, left_to_gain(H, most))", "pass"),
        ("if state.reason:  # the method", "if False:  # the method"),
        ("self._used | (state.grad != 0)", "self._used"),
    ],
    ("noise", "stopping"): [
        ("side * eps ** (0.5 + k / 8)", "side * eps**0.5"),
        ("side * eps ** (0.5 + k / 8)", "side * eps**0.875"),
        ("min(VISIBLE * less, more)", "more"),
        ("return change if change > 2 * steepest else 0.0", "return change"),
    ],
    ("differences", "stopping"): [
        ("most - len(H.known), scaled.known)", "6)"),
        ("(self.root * size).maximum(self._step)", "(self.root * size)"),
        ("InUnits(H, H.declared)", "InUnits(H, torch.ones_like(H.size))"),
        ("if not torch.equal(H.declared, guess):", "if False:"),
        ("scaled = InUnits(H, H.extent)", "scaled = InUnits(H, H.size)"),
        ("size.where(start.x != 0, 0.0)", "size"),
        ("size * (least / slope)", "size"),
        ("if not curvature < 0:", "if curvature < 0:"),
        ("if J == 0:", "if False:"),
        ("fell if falls else abs(J))", "abs(J))"),
        ("fell if falls else abs(J))", "fell)"),
        ("(flat & used).any())", "flat.any())"),
        ("own = H.extent.where(", "own = H.size.where("),
        ("H.extent.where(start.x != 0, H.ext", "H.extent.where(start.x != start.x, H.ext"),
        ("_SMALL * min(", "0.0 * min("),
        ("min(largest_entry(own), largest_entry(start.x) or math.inf)", "largest_entry(own)"),
        ("if not falls and largest_entry(own)", "if False and largest_entry(own)"),
        ("math.sqrt(torch.finfo(size.dtype).tiny)", "torch.finfo(size.dtype).eps ** 2"),
        ("if found() and not H.known:", "if False:"),
        ("(-0.01 * own, whole / own)", "(-0.01 * whole, 1.0)"),
        ("unlike = 1 + 0.5 * torch.cos(i)", "unlike = torch.cos(i)"),
        ("gain += 0.5 * step * rr * H.unit", "gain += 0.5 * step * rr"),
    ],
    ("gradient_descent",): [
        ("self.momentum * state.velocity + state", "self.momentum * state.velocity - state"),
        ("change=state.change)", "change=0.0)"),
    ],
    ("line_search",): [
        ("<= phi.value + c1 * step * phi.slope\n        steep", "< math.inf\n        steep"),
        ("        if flat:  # slopes", "        if flat and trial.value > phi.value:  # slopes"),
        ("bisect=width > 0.66 * older_width", "bisect=False"),
        ("enough = trial.slope <= (2 * c1 - 1) * phi.slope", "enough = True"),
        ("if enough and steep <= -c2 * phi.slope:", "if enough:"),
        ("steep = abs(trial.slope) if strong else -trial.slope", "steep = -trial.slope"),
        ("steep = abs(trial.slope) if strong else -trial.slope", "steep = abs(trial.slope)"),
        ("if (trial.slope > 0) != toward_low:", "if trial.slope > 0:"),
        ("max_growth * low.step)", "100 * max_growth * low.step)"),
        ("max(grown, 2 * low.step)", "max(grown, 1.1 * low.step)"),
        ("return low if low.value < phi.value else None", "return low"),
        ("min(max(shrunk, 0.1 * step), 0.5 * step)", "min(max(shrunk, 0.1 * step), 2 * step)"),
        ("trial = phi(-phi.slope / curvature)", "trial = phi(phi.slope / curvature)"),
    ],
    ("interpolation",): [
        ("- 3 * (b.value - a.value) / gap", "- 2 * (b.value - a.value) / gap"),
        ("math.copysign(math.sqrt(radicand), gap)", "math.sqrt(radicand)"),
        ("return low.step + 0.5 * width", "return low.step + 0.95 * width"),
        ("return low.step + 0.1 * width", "return low.step + 0.9 * width"),
    ],
    ("descent",): [
        ("if not -math.inf < phi.slope < 0:", "if not -math.inf < phi.slope:"),
        ("first = change / phi.slope if change < 0 else", "first ="),
        ("/ norm(state.grad) / length", "/ norm(state.grad) / norm(state.grad)"),
        ("norm(rho) or math.inf", "norm(rho)"),
        (".clamp(min=eps).square()", ".clamp(min=eps)"),
        ("return Found(trial.at, trial.step * phi.slope)", "return Found(trial.at, trial.step)"),
        ("return min(reach, drop) if drop > 0 else reach", "return reach"),
        ("    if not promises(state):", "    if False:"),
        ("return state.ended(afresh.reason) if afresh.reason else afresh", "return afresh"),
        ("(at - asked).abs() <= bound, 0.0)", "(at - asked).abs() >= 0, 0.0)"),
        ("        if self.held is not None:", "        if False:"),
        ("        phi.known = known\n", ""),
    ],
    ("secant",): [
        ("if abs(before - after) > noise:", "if True:"),
        ("1e-12 * math.sqrt(ss) * math.sqrt(yy), ", "0.0, "),
        ("math.sqrt(yy), torch.finfo(s.dtype).tiny)", "math.sqrt(yy), 0.0)"),
        ("min(max(share, -0.5), 10.0)", "share"),
        ("6 * (before - after) + 3 * slopes", "6 * (after - before) + 3 * slopes"),
        ("y, sy = y.mul_(factor), sy * factor", "y = y.mul_(factor)"),
        ("return sy / yy if yy else 1.0", "return yy / sy if yy else 1.0"),
    ],
    ("bfgs", "descent", "minimization"): [
        ("varrho = 1 / s.dot(y)", "varrho = 2 / s.dot(y)"),
        ("if updates == 0 and self.scale_first:", "if self.scale_first:"),
        ("first=1.0 if updates else None", "first=None"),
        ("if found is None and self.safeguard and updates:", "if False:"),
        ("if found is None and self.safeguard and updates:", "if found is None and updates:"),
        ("curvature_scale(pair, D)", "curvature_scale(pair)"),
        ("M = state.M if updates else _diagonal(state.x, D)", "M = state.M"),
    ],
    ("lbfgs", "descent", "minimization"): [
        ("q.add_(s, alpha=alpha - beta)", "q.add_(s, alpha=alpha + beta)"),
        ("for s, y, sy in reversed(pairs):", "for s, y, sy in pairs:"),
        ("curvature_scale(pairs[-1], D) if self.", "curvature_scale(pairs[0], D) if self."),
        ("[-self.history_size :]", "[: self.history_size]"),
        ("if found is None and self.safeguard and pairs:", "if False:"),
    ],
    ("compact_lbfgs",): [
        ("q[m + i] = -alphas[i]", "q[m + i] = alphas[i]"),
        ("q *= scale", "q *= 1.0"),
        ("q[i] = alphas[i] - beta", "q[i] = alphas[i]"),
        (".to(torch.float64)", ""),
        ('device.type == "cuda" and n <= LARGEST', 'device.type != "cpu" and n <= LARGEST'),
    ],
    ("conjugate_gradient", "descent"): [
        ("max(polak_ribiere(g, g_before, rho), 0.0)", "polak_ribiere(g, g_before, rho)"),
        ("return _ratio(inner(g - g_before, g),", "return _ratio(inner(g + g_before, g),"),
        ("beta=0.0 if restart else", "beta="),
        ("if found is None and self.safeguard and (state.beta or state.change):", "if False:"),
        ("rho = -g + gg / gg_before * rho", "rho = -g - gg / gg_before * rho"),
        ("if gg == 0:", "if gg < 0:"),
        ("change=state.change)", "change=0.0)"),
    ],
    ("conjugate_memory", "descent", "minimization"): [
        ("pairs = (*pairs[:2], new)", "pairs = (*pairs[:1], new)"),
        ("curvature_scale(pairs[-1], D) if pairs", "curvature_scale(pairs[0], D) if pairs"),
        ("curvature_scale(pairs[-1], D) if pairs", "curvature_scale(pairs[-1]) if pairs"),
        ("        if not self.safeguard:\n            return state\n", ""),
        ("is not None and steps >= self.restart_every:", "is not None and False:"),
        ("steps >= 3 * len(rho)", "steps >= 300 * len(rho)"),
        ("pairs, steps = (new,), 0", "pairs, steps = (), 0"),
        ("if found is None and self.safeguard and pairs:", "if False:"),
    ],
    ("newton", "minimization"): [
        ("H + damping * torch.eye", "H - damping * torch.eye"),
        ("step.dot(g) + 0.5 * step.dot", "step.dot(g) + step.dot"),
        (
            "if self.damping is not None:\n            return full_step",
            "if False:\n            return full_step",
        ),
        ("if not bool(H.isfinite().all()):\n            H =", "if False:\n            H ="),
    ],
    ("levenberg_marquardt",): [
        ("values[: len(sigma)] = 2 * sigma.square()", "values[: len(sigma)] = sigma.square()"),
        ("2 * sigma * (U.T @ r)", "-2 * sigma * (U.T @ r)"),
        ("if not bool(U.isfinite().all()):", "if False:"),
        ("slopes.flip(0), eps * eps)", "slopes.flip(0), eps)"),
        ("sigma.where(sigma > eps * sigma[0], 0.0)", "sigma"),
        ("vectors / D.unsqueeze(1), slopes)", "vectors, slopes)"),
        ("all()):\n            return state", "all()) and False:\n            return state"),
    ],
    ("scaling",): [
        ("(keep * state.scale).maximum(scale)", "scale"),
        ("whole if given is None else", "1.0 if given is None else"),
        ("given * (whole / x)", "given"),
        ("norm(D * x) or norm(D)", "norm(D * x)"),
        ("largest, largest or 1.0", "largest, 1.0"),
        ("_LEAST * largest", "0"),
        ("if alike > 1 else D", "if alike > 1e9 else D"),
        (".clamp(1 / alike, alike)", ".clamp(1e-99, alike)"),
    ],
    ("truncated_newton",): [
        (
            "math.copysign(radius, -inner(state.grad, vector))",
            "math.copysign(radius, inner(state.grad, vector))",
        ),
        ("4 * len(state.x) + 10", "len(state.x) // 2"),
        ("min(self.max_products, ", "max(self.max_products, "),
        ("tau = min(length, to_boundary)", "tau = length if length < math.inf else to_boundary"),
        ("rr / curvature if curvature > 0 else math.inf", "rr / abs(curvature)"),
        ("decrease += tau * rr - 0.5 * tau * tau * curvature", "decrease += tau * rr"),
        ("d = -r + (rr_new / rr) * d", "d = -r"),
    ],
    ("trust_region",): [
        ("-math.copysign(1.0, float(slopes[0]))", "math.copysign(1.0, float(slopes[0]))"),
        ("room > 1e-6 * radius * radius", "False"),
        ("0.25 * min(radius, length)", "0.25 * radius"),
        ("new_radius = 0.25 * length\n", "new_radius = 0.25 * radius\n"),
        (
            "elif judged.agreement > 0.9 and length > 0.8 * radius:",
            "elif judged.agreement > 0.9:",
        ),
        ("new_radius = 3.0 * radius", "new_radius = radius"),
        ("elif judged.agreement > 0.9 and", "elif judged.agreement > 0.1 and"),
        ("gained = norm(at.grad) < 0.9 * norm(state.grad)", "gained = True"),
        ("or torch.equal(x, state.x):", "or False:"),
        ("            new_radius = 10.0 * radius\n", "            break\n"),
        ("if max(proposed.decrease, abs(value - at.J)) > noise:", "if True:"),
        ("        radius = new_radius\n", "        radius = 0.9 * radius\n"),
        ("if judged.agreement > 1e-4 and", "if judged.agreement > -1e9 and"),
        ("low = max(0.0, -lowest)", "low = 0.0"),
        ("alpha = low if lowest > tiny else low + tiny", "alpha = low"),
    ],
    ("optimizer", "optimizer_checkpoints", "optimizer_changes"): [
        ("{} if state.reason else state.memory", "state.memory"),
        ("        self._forget()\n\n", "\n"),
        ("or memory is None or not self.full_batch:", "or memory is None:"),
        ("if last is None or memory is None or not", "if last is None or not"),
        ("return last if f.holds(last.x) else None", "return last"),
        ("memory.get(name) is not value", "False"),
        ("if self._stuck is None or self._stuck[0] != method:", "if self._stuck is None:"),
        ("self.reason = there.reason if same else", "self.reason ="),
        ("self._last = state if self.full_batch and", "self._last = state if"),
        ("            self._looked_up()  # others", "            pass  # others"),
        ("if drowns(f, state) else", "if True else"),
        ("or (state.reason and afresh)", "or state.reason"),
        ("            f.restore(start)\n            raise", "            raise"),
        ("if not same or kinds(now) != self._kind:", "if not same:"),
        ("        self.state.clear()\n", ""),
        ("for i in trained_there]", "for i in range(len(self._owners))]"),
        ("return {**super().__getstate__(), **{", "return {**{}, **{"),
    ],
    ("module_objective", "optimizer_changes", "moving_closures"): [
        ("self._written = x if self.holds(x) else self.point()", "self._written = x"),
        ("self._written = None  # the closure", "pass  # the closure"),
        ("not math.isfinite(output))", "False)"),
        ("            p.grad = None\n        with", "            pass\n        with"),
        ("        loss.backward()  # type", "        pass  # type"),
        ("self._written = None  # an", "pass  # an"),
        ("torch.clear_autocast_cache()", "pass"),
        ("                p.grad = None\n", "                pass\n"),
        ("return self._autocast(False)", "return nullcontext()"),
        ("_replicas() as replicas, self._autocast(True):", "_replicas() as replicas:"),
    ],
    ("parameter_group", "optimizer_checkpoints"): [
        ('for key in ("name", "shapes")', 'for key in ("name",)'),
        ('now["lr"] = sys.float_info.min', 'now["lr"] = 1e-3'),
        ("if now == old:", "if True:"),
        ("group[key] != joined[key]", "False"),
        ("if len(groups) != 1:", "if not groups:"),
        ("_extent(p) < p.numel()", "False"),
        ("if bool(torch.isin(", "if (lambda *_: False)((" ),
        ("* q.element_size() > start", "> start"),
        ("(start - q.data_ptr()) // q.element_size()", "0"),
        ("if there != value:", "if False:"),
    ],
    ("coordinate_descent", "coordinate_descent_ends"): [
        ("-slope.sign()", "slope.sign()"),
        ("first = steepness * float(state.strides[block])", "first = 0.0"),
        ("idle == len(blocks)", "idle == 1"),
        ("if length > scale and", "if"),
        ("_RETURNED * length", "1e-2 * length"),
        ("if before - J <= rounding(J,", "if before > J - rounding(J,"),
        ("return after if after.turn else after.sweep_ended()", "return after"),
        ('inner.reason == "non_finite" else', "False else"),
        ("return None if far or", "return None if"),
        ("< at.J:\n            raise", "< -math.inf:\n            raise"),
        ("max_steps=max_sweeps * turns", "max_steps=max_sweeps * len(x0)"),
    ],
    ("exact_search",): [
        ("_is_vertex(phi, trial)", "False"),
        ("step > _LONGEST * first_step", "False"),
        ("if flat else trial.value < best.value", "if False else trial.value < best.value"),
        ("mode += width > 0.5 * older_width", "mode += 0"),
        ("finest = phi.eps", "finest = 1e-6"),
        ("return None if best is start else best", "return best"),
    ],
    ("restriction",): [
        ("self._whole.product(padded)[self._block]", "self._whole.product(padded)[:2]"),
        ("return (rows + rows.T) / 2", "return rows + rows.T"),
        ("self.best = at if largest_entry(grad) < least else best", "self.best = at"),
        ("best.J - noise > at.J", "best.J - noise < at.J"),
    ],
    ("kinks",): [
        ("x - (radius / length * p)", "x + (radius / length * p)"),
        ("_SMALL, _SHARE = 1e-6, 0.1", "_SMALL, _SHARE = 1e-1, 0.1"),
        ("steepest = largest_entry(state.grad) or 1.0", "steepest = 1.0"),
        ("if n <= _MOST_COORDINATES else 0", "if True else 0"),
        ("new, square = int(along.argmin())", "new, square = int(along.argmax())"),
        ("if bool((v > 0).all()):", "if True:"),
    ],
    ("sparse_codes",): [
        ("self.t = 0.5 * (1 + (1 + 4", "self.t = 1e9 * (1 + (1 + 4"),
        ("torch.where(uphill, 1.0, self.t)", "self.t"),
        ("if step % (_LOOK * _SOLVE) == 0:", "if False:"),
        (".clamp(max=1)\n", "\n"),
        ("(new[1] <= old[1] + noise) & (new[2] < old[2])", "(new[1] < old[1])"),
        ("take = (new[1] < old[1] - noise) |", "take = (new[1] < math.inf) |"),
        ("self.half_squares == 0, 1.0", "self.half_squares == 0, 0.0"),
        ("1 / largest if largest > 0 else 1.0", "1 / largest"),
        ("X.double() / size", "X.double()"),
        ("self.C - self.alpha * H.sign()", "self.C"),
        ("left = best[2] > gap_tol", "left = best[2] > 1e-4"),
    ],
    ("sparse_coding",): [
        ("/ torch.linalg.vector_norm(w).clamp(min=1)", "/ torch.linalg.vector_norm(w)"),
        ("(B[k] - A[k] @ W)", "(B[k] + A[k] @ W)"),
        ("W = W.clone()", "pass"),
        ("if len(unused) and not asked:", "if False:"),
        ("error.topk(", "(-error).topk("),
        ("X[worst] / lengths", "X[worst]"),
        ("H, gap = self._codes(x, W, H)\n", "_, gap = self._codes(x, W, H)\n"),
        ("(number == 0 and least", "(number <= 0 and least"),
    ],
    ("training/minibatches",): [
        ("int(torch.randint(2**31, (), generator=first))", "seed"),
        ("drawn[self._row]", "drawn[self._row * 0]"),
    ],
    ("training/rules",): [
        ("self.rho1**t", "self.rho1"),
        ("torch.add(grad, memory[0], alpha=self.momentum)", "grad + memory[0]"),
    ],
    ("training/task",): [
        ("self.weight_decay / 2 * theta", "self.weight_decay * theta"),
        ("else targets.long()", "else targets"),
        ("and outputs.shape != targets.shape", ""),
        ('if "can\'t be cast" not in str(error):', "if True:"),
        ('str(self.loss.__module__).startswith("torch.nn")', "True"),
        ('if getattr(self.loss, "reduction", "mean") != "mean":', "if False:"),
    ],
    ("training/plan",): [
        ("if count < 1:", "if count < 0:"),
        ("float(self.schedule(share))", "float(self.schedule(1 - share))"),
        ("if isinstance(value, bool):", "if False:"),
    ],
    ("standardization",): [
        ("    D -= rest\n", ""),
        ("D *= 1 / unit", "pass"),
        ("D *= unit / sigma", "D *= unit"),
        ("(mean + rest, spread * spread", "(rest, spread * spread"),
        ("(H.shape[1] / H.numel())", "(H.shape[1] / (H.numel() - 1))"),
        ("full_like(spread, math.sqrt(delta))", "full_like(spread, delta)"),
        ("sigma.masked_fill(sigma == 0, math.inf)", "sigma"),
        ("D.amax(axes, keepdim=True).clamp(", "torch.ones_like(mean).clamp("),
        ("math.sqrt(torch.finfo(H.dtype).tiny)", "0"),
        ("spread * spread", "sigma * sigma"),
    ],
    ("batch_norm", "pooling"): [
        ("(along_features(beta, H), H, along_features(gamma, H))", "(H, H, H)"),
        ("along_features(gamma / sigma, H)", "along_features(gamma, H)"),
        ("torch.addcmul(-sum_G / m, -sum_GH / m, H)", "torch.addcmul(-sum_G / m, 0 * sum_GH, H)"),
        ("torch.addcmul(-sum_G / m, -sum_GH / m, H)", "(-sum_GH / m * H)"),
        ("if grad_sigma is not None:", "if False:"),
        ("if grad_standard is not None:", "if False:"),
        ("(1 - self.decay) * batch", "batch"),
        ("if not self.training:", "if not self.gamma.requires_grad:"),
        ("if m.running_mean is not None]", "]"),
        ("H.numel() < 2 * H.shape[1]", "len(H) < 2"),
    ],
    ("pooling",): [
        ("within + share * (1 - share) * gap.square()", "within"),
        ("self.mean + share * gap", "self.mean + gap / 2"),
        ("left.remove(layer)", "left.pop(0)"),
        ("            for buffer, value in before:\n                buffer.copy_(value)\n", ""),
        ("    module.eval()\n", ""),
        ("m.training = mode", "m.training = True"),
    ],
    ("averaging",): [
        ("average = iterates[0] if start is None else start", "average = iterates[0]"),
        ("(1 + decay) / (1 - decay)", "1 / (1 - decay)"),
        ("(j - 1) / (j + self", "(j - 1) / (1 + j + self"),
        ("range(max(t - steps, 0) + 1, t + 1)", "range(t, t + 1)"),
        ("if new else 0.0", "if new else 1.0"),
        ("        if t == steps:\n            return 0.0\n", ""),
        ("            return decay**steps\n", "            return decay\n"),
        ("/ (1 - decay**t)", ""),
    ],
    ("module_average", "averaging"): [
        ("torch.promote_types(t.dtype, torch.float32)", "t.dtype"),
        ("self.steps += steps", "self.steps += 1"),
        ("if a.dtype != t.dtype:", "if False:"),
        ("if kept == 0:", "if False:"),
        ("buffers_held(self.module), ", ""),
        ("                self._applied = False", "                pass"),
        ("or any(map(is_not, now, self._parameters))", ""),
        ("if b.is_floating_point()]", "]"),
        ("if own != given:", "if False:"),
        ("with {state.get('settings')}", ""),
        ("t.detach().to(", "t.to("),
    ],
    ("blurring",): [
        ("x + sigma * noise).mean()", "x + sigma**2 * noise).mean()"),
        ("values = at_all(f, x + sigma * noise)", "values = at_all(f, x - sigma * noise)"),
        ("(noise @ moved) / sigma", "(noise @ moved) / sigma**2"),
        ("moved @ moved / (2 * sigma**2)", "moved @ moved / sigma**2"),
        ("((values - others) * ratio).mean() + others.mean()", "(values * ratio).mean()"),
        ("(values.sum() - values) / (N - 1)", "values.mean().expand(N)"),
        ("((both.sum() - both) / (N - 2)).repeat(2)", "values.mean().expand(N)"),
        ("torch.zeros_like(values)", "values.mean().expand(2)"),
        ("torch.cat([noise, -noise], dim=-2)", "torch.cat([noise, noise], dim=-2)"),
        ("self._noise is None or self._fresh", "True"),
        ("self._noise is None or self._fresh", "self._noise is None"),
        ('if "vmap" not in str(error):', "if False:"),
        ("samples if sigma else 1", "samples"),
    ],
    ("exact_blurs",): [
        ("math.prod(range(1, 2 * j, 2)) * sigma", "math.factorial(j) * sigma"),
        ("c * math.comb(k, 2 * j) * moment", "c * moment"),
        ("(-(checked_sigma(sigma) ** 2) / 2 *", "(-(checked_sigma(sigma) ** 2) *"),
        ("(self.widths / widths) **", "(self.widths / widths).sqrt() **"),
        ("+ checked_sigma(sigma) ** 2).sqrt()", "+ 2 * checked_sigma(sigma) ** 2).sqrt()"),
        ("torch.full((n,), -amplitude", "torch.full((n,), amplitude"),
    ],
    ("continuation",): [
        ("x, steepest = path.x, max", "x, steepest = x0, max"),
        ("each * path.evaluations", "path.evaluations"),
        ("if b > a]", "if b < a]"),
        ("steepest or None", "0 or None"),
        ("max(steepest, largest", "min(steepest, largest"),
        ("if not sigma:", "if sigma is None:"),
        ("** (1 / (stages - 1))", "** (1 / stages)"),
        ("check_samples(n_samples, estimator)", "pass"),
    ],
    ("training/many_starts",): [
        ("x = torch.where(alive, new, x)", "x = new"),
        ("count * (n_samples if sampled else 1)", "count"),
        ("rule.direction(g, memory, t)", "rule.direction(g, memory, 1)"),
        ("x, stages, evaluations = starts.detach().clone()", "x, stages, evaluations = 0 * starts"),
        ("e, estimator), x, noise)", "e, estimator), x, 0 * noise + noise[:1])"),
    ],
    ("pacing",): [
        ("min(share / self.until, 1.0)", "max(share / self.until, 1.0)"),
        ("(self.last - self.first)", "self.last"),
        ("if not 0 <= part <= 1:", "if False:"),
    ],
    ("difficulty",): [
        ("fit(inputs[~out], targets[~out], number)", "fit(inputs[out], targets[out], number)"),
        ("scores[fold == number] = losses", "scores[: len(losses)] = losses"),
        ("or bool(losses.isnan().any())", ""),
    ],
    ("curriculum",): [
        ("self.difficulty <= self", "self.difficulty < self"),
        ("math.ceil(share * len(self) - 1e-9)", "math.ceil((1 - share) * len(self))"),
        ("return len(self) * self.probabilities(share)", "return self.probabilities(share)"),
        ("self.difficulty == self.difficulty[let_in].max()", "let_in"),
        ("1 / (sizes[level] * len(sizes)).double()", "1 / sizes[level].double() / len(self)"),
        ("torch.lerp(first, second, part)", "torch.lerp(second, first, part)"),
        ("                self.drawn += 1\n", ""),
        ("left -= count", "left = 0"),
        ("min(self.drawn / self.draws, 1.0)", "self.drawn / self.draws"),
        ("right=True", "right=False"),
        ("if state[name] != own[name]:", "if False:"),
    ],
    ("exchange",): [
        ("if not all(bool(v.isfinite().all()) for v in values):", "if False:"),
        ("if value.dtype == tensor.dtype else old", "if True else old"),
        ("return value.copy_(old) if value.dtype == tensor.dtype else old", "return old"),
        ("    if changed:", "    if False:"),
        ("device=t.device).cos_()", "device=t.device) ** 0"),
        ("if tensor.shape != value.shape:", "if False:"),
        ("holder[name] = buffer", "pass"),
        ("buffer.copy_(value)\n", "pass\n"),
    ],
    ("schedule_free",): [
        ("y.copy_(z.lerp(x, beta))", "y.copy_(x.lerp(z, beta))"),
        ("1 / memory[\"t\"]", "1 / (memory[\"t\"] + 1)"),
        ('raise RuntimeError("step() must', 'RuntimeError("step() must'),
        ("if not 0 <= beta <= 1:", "if not 0 <= beta < 1:"),
    ],
    ("frozen",): [
        ("super().train(False)", "super().train(mode)"),
        ("        self.requires_grad_(False)\n", ""),
        ("        self.zero_grad()\n", ""),
        ("        self.eval()\n", ""),
        ("self.named_parameters() if p.requires_grad]", "self.named_parameters()]"),
        ("(name in self._learned)", "(True)"),
        ("self._modules.items())).train()", "self._modules.items()))"),
        ("    module = copy.deepcopy(module)\n", ""),
        ("    network = copy.deepcopy(network)\n", ""),
        ("if type(module) is nn.Sequential:", "if isinstance(module, nn.Sequential):"),
        ("part.thaw() if isinstance(part, Frozen) else [part]", "[part]"),
    ],
    ("weight_layers",): [
        ("if child is not None)", "if child is not None and not path)"),
        ("(layers[-1] if layers else start).update(before)", "start.update(before)"),
        ("layers[0], start = start | layers[0], {}", "pass"),
        ("if layers and type(module) is not nn.Sequential:", "if layers:"),
        ("        layers[0] = start | layers[0]\n    return", "        pass\n    return"),
        ("module.named_buffers(recurse=recurse)", "{}.items()"),
        ("if inside <= layers:", "if inside < layers:"),
        ("layers -= inside", "layers -= 1"),
        ("        elif layers:", "        elif False:"),
        ("return [*below, nn.Sequential(*under)]", "return [nn.Sequential(*under)]"),
        ("if any(id(tensor) in staying", "if any(False"),
        ("range(least, most + 1)", "range(least, most + 2)"),
        ("if _described(old) != _described(new):", "if False:"),
        ("{str(t.dtype).removeprefix('torch.')}", ""),
    ],
    ("stages",): [
        ("copy.deepcopy(self.module).eval()", "self.module.eval()"),
        ("copy.deepcopy(self.module).eval()", "copy.deepcopy(self.module)"),
        ("if outputs.shape[1:] != hints.shape[1:]:", "if outputs.shape[1] != hints.shape[1]:"),
        ("copy.deepcopy(nn.Sequential(*parts)).train()", "nn.Sequential(*parts).train()"),
        ("copy.deepcopy(nn.Sequential(*parts)).train()", "copy.deepcopy(nn.Sequential(*parts))"),
        ("    if moved:", "    if False:"),
        ("    if not changed & dict(before.named_parameters()).keys():", "    if not changed:"),
        ("| ((old != old) & (new != new))", ""),
        ("(old.shape, old.dtype) != (new.shape, new.dtype)", "old.shape != new.shape"),
        (", **dict(module.named_buffers())", ""),
    ],
    ("hints",): [
        ("target = frozen(nn.Sequential(*split(teacher, teacher_layers)[0]))",
         "target = nn.Sequential(*split(teacher, teacher_layers)[0])"),
        ("split(teacher, teacher_layers)[0]", "split(teacher, teacher_layers)[1]"),
        ("    student, regressor = copy.deepcopy((student, regressor))\n", ""),
        ("copy.deepcopy(student).train(), None", "student.train(), None"),
        ("return copy.deepcopy(task.module)", "return task.module"),
        ("return copy.deepcopy(task.module)", "return student"),
        ("(1 - weight) * F.cross_entropy", "F.cross_entropy"),
        ("weight * temperature**2 * apart", "weight * apart"),
        ("(teacher - student)", "(student - teacher)"),
        ("logits.detach()", "logits"),
    ],
    ("pretraining",): [
        ("below = [frozen(nn.Sequential(*trained))] if trained else []", "below = trained"),
        ('"end": numbers[-1:]', '"end": numbers[:1]'),
        ("range(2, len(blocks) + 1)", "range(1, len(blocks) + 1)"),
        ("            network = start(*network)\n", ""),
        ("network = start(*trained, *list(stage.module)[-2:])",
         "network = start(*trained, *list(stage.module)[-2:-1], head)"),
        ("        trained = list(network)[:-1]\n", "        trained = list(network)[1:-1]\n"),
        ("            index += 1\n", ""),
        ("len(blocks) + len(tuned)", "len(blocks)"),
        ("            trained = [WithInput(*trained)]\n", "            pass\n"),
        ("torch.cat([out, input], dim=1)", "torch.cat([input, out], dim=1)"),
        ("if out.shape[2:] != input.shape[2:]:", "if out.dim() != input.dim():"),
        ("[*range(first), *range(-last, 0)]", "[*range(first), *range(-last, -1)]"),
        ("[*range(first), *range(-last, 0)]", "[*range(first - 1), *range(-last, 0)]"),
        ("    new = copy.deepcopy(deeper)\n", "    new = deeper\n"),
        ("    new = copy.deepcopy(fresh)\n", "    new = fresh\n"),
        ("list(range(layers))", "list(range(max(layers - 1, 0)))"),
        ("nn.Sequential(Frozen(*below), *above)", "nn.Sequential(*below, *above)"),
        ("split(new, layers)", "split(new, layers - 1)"),
    ],
    ("activations",): [
        (".amax(axis + 1)", ".mean(axis + 1)"),
        ("features // self.pieces, self.pieces, *", "self.pieces, features // self.pieces, *"),
        ("* z).sin()", "* z).cos()"),
        ("pieces * density", "density"),
        ("** (pieces - 1)", "** pieces"),
        ("values.square() * density", "values * density"),
        ("and not isinstance(module, _OF_SEVERAL)", ""),
    ],
    ("initialization",): [
        ("Q = Q * R.diagonal().sign()", "pass"),
        ("determinant_sign * torch.linalg.det(Q).sign()", "determinant_sign"),
        ("if rows >= columns else Q.T", "if rows >= 0 else Q.T"),
        (".contiguous()", ""),
        ("q if number else 1.0", "q"),
        ("1 / (fan_in * q)", "1 / fan_in"),
        ("len(weight) * weight[0, 0].numel()", "len(weight)"),
        ("return _uniform(weight, 1 / math.sqrt(fan_in), generator)",
         "return _uniform(weight, fan_in**-0.5, generator)"),
        ("layer.bias.zero_()", "pass"),
        ("weight *= scale", "pass"),
        ("mean_square(activation or _only", "mean_square(_only"),
    ],
    ("skips",): [
        ("return input + (out", "return (out"),
        ("else self.scale * out", "else out"),
        ("torch.zeros((), dtype=like.dtype", "torch.ones((), dtype=like.dtype"),
        ("dtype=like.dtype, ", ""),
        ("if out.shape != input.shape:", "if False:"),
        ('return f"scale={', 'return f"{0 and '),
    ],
    ("auxiliary_heads",): [
        ("if self.training and str(number)", "if str(number)"),
        ("enumerate(self.blocks, start=1)", "enumerate(self.blocks)"),
        ("if self.training else last", ""),
        ("input = block(input)", "input = input + block(input)"),
        ("last + weight * sum(heads)", "last + sum(heads)"),
        ("*heads, last = (", "last, *heads = ("),
        (".train(self.training)", ""),
    ],
    ("recurrent",): [
        ("slice(cell.hidden_size, 2 * cell.hidden_size)", "slice(0, cell.hidden_size)"),
        ("cell.bias_hh[forget] = 0", "pass"),
        ("h, memory = self.cell", "h, _ = self.cell"),
        ("            memory = h\n", "            memory = h + 1\n"),
        ("scale * torch.eye", "torch.eye"),
        (", dtype=torch.float64)", ")"),
        ("cell.bias_hh.zero_()", "pass"),
    ],
    ("jacobians",): [
        ("lambda before, J: J @ before", "lambda before, J: before.mT @ J.mT"),
        ("        h = layer(h)\n", ""),
        ("module.training or module.running_mean is None", "module.running_mean is None"),
        ("module.training or module.running_mean is None", "module.training"),
        ('if getattr(module, "inplace", False):', "if False:"),
        ("_DropoutNd) and module.training", "_DropoutNd) and False"),
        ("@torch.no_grad()\ndef layer", "def layer"),
    ],
    ("gradient_statistics",): [
        ("g - g.mean(0) if center else g", "g"),
        ("g[: m - k] * g[k:]", "g[: m - k] * g[: m - k]"),
        ("/ g.square().sum()", "/ g.square().mean()"),
        ("return -(gradients * way)", "return (gradients * way)"),
        ("thetas[-1], thetas[:-1], gradients[:-1]", "thetas[-1], thetas[:-1], gradients[1:]"),
        ("    require_separate(network)\n", ""),
        ("if y.numel() != 1:", "if False:"),
    ],
    ("layer_statistics",): [
        ("correction=0", "correction=1"),
        ("flat.all(0)", "flat.any(0)"),
        ("positive & negative", "positive"),
        ("slope.abs() < 0.01", "slope.abs() < 0.3"),
        ("buffers_held(network), ", ""),
        ("            hook.remove()", "            pass"),
        ("recurse=False", "recurse=True"),
        (".mean().sqrt())", ".sum().sqrt())"),
        ("torch.enable_grad()", "torch.no_grad()"),
        ("x.detach().requires_grad_() if", "x.detach() if"),
    ],
    ("linear_residual",): [
        ("bound: Tensor = 4 *", "bound: Tensor = 4.05 *"),
        ("(2 * len(A) - 2)", "(2 * len(A) - 3)"),
        ("svdvals(self.covariance)[-1]", "svdvals(self.covariance)[0]"),
        ("A, 2).amax()", "A, 2).amin()"),
        (".clamp(min=0)", ""),
        ("pull = 2 * (", "pull = ("),
        ("F.mT.flip(0)", "F.mT"),
        ("f @ product, initial", "product @ f, initial"),
    ],
    ("model_design",): [
        ("(1, 0))", "(0, 1))"),
        ("cells - y.mean() - rows - columns", "cells - y.mean() - rows"),
        ("p.expand_as(y).square()", "p.square()"),
        ("y - cells)]", "y - y.mean())]"),
    ],
    ("normalization",): [
        ("(variance - 1).square()", "(variance - 1)"),
        ("layer.bias.sub_(mean).div_(sigma)", "layer.bias.sub_(mean)"),
        ("directions * scale @ directions.mT", "directions * scale"),
        ("if delta == 0 else scale", "if False else scale"),
    ],
    ("linear_chain",): [
        ("-learning_rate * g", "-learning_rate * w"),
        ("-learning_rate * g", "learning_rate * g"),
        ("stay = [order * w for", "stay = [order for"),
        ("reversed(weights[1:])", "weights[1:]"),
    ],
    ("training/history",): [
        ('if criterion.endswith("accuracy") else scores', 'if False else scores'),
        ("self._alive &= loss.isfinite()", "pass"),
        ("fine = self._alive & value.isfinite()", "fine = value.isfinite()"),
    ],
    ("training/loop",): [
        ("tensor.copy_(old)", "pass"),
        ("[*self._parameters, *self._module.buffers()]", "[*self._parameters]"),
        ("self._module.eval()", "pass"),
        ("module.training = mode", "pass"),
        ("examples / total", "steps / total"),
        ("self._scale_rates(1.0)", "pass"),
        ("clip_grad_norm_(self._parameters, self._plan.clip)", "pass"),
    ],
    ("training/examples",): [
        ("positions + self.m * self._which.unsqueeze(1)", "positions"),
        ("which = self._which[replicas]", "which = self._which[: len(self._which[replicas])]"),
    ],
    ("training/replicas",): [
        ("self._judged.module.eval()", "pass"),
        ("holder[key] = tensor\n\n\ndef", "pass\n\n\ndef"),
        ("if holder[key] is not tensor:", "if False:"),
        ("if t is tensor]", "if t is tensor][:1]"),
        ("tensor.copy_(self.state[name][replica])", "tensor.copy_(self.state[name][0])"),
        ("if p.requires_grad}", "}"),
    ],
    ("training/forms", "training/by_hand"): [
        ("torch.where(constant, rows.detach(), rows)", "rows"),
        ("padding_idx % len(weight)", "padding_idx"),
        ("losses.sum() / shares.sum()", "losses.mean()"),
        ("losses = losses * shares", "pass"),
        ("new_in + r * new_old", "r * (new_in + new_old)"),
        ("input.mT.unsqueeze(0), *args", "input.mT.unsqueeze(0) + 1, *args"),
    ],
    ("training/many", "training/by_hand"): [
        ("if not bool(self.alive.all()):", "if False:"),
        ("v, state[k]) for k, v", "v, v) for k, v"),
        ("value=-factor", "value=-1"),
        ("self._clip / (norms + 1e-6)", "self._clip / norms.mean()"),
        ("clamp(max=1)", "clamp(min=0)"),
        ("new_state = {name: tensor.clone() for name", "new_state = {name: tensor for name"),
        ('if part == "train":', "if False:"),
    ],
    ("lesson/evidence",): [
        ("v.std(ddof=1)", "v.std(ddof=0)"),
        ("worst = math.inf if smaller_is_better else -math.inf", "worst = -math.inf"),
    ],
    ("lesson/claims",): [
        ('words > LONGEST_FINDING or', 'False or'),
        ('nan|inf|infinity', 'nan|infinity'),
        ('OURS.get(id, "")', '""'),
    ],
    ("lesson/syllabus",): [
        ('if id not in SYLLABUS_IDS:', 'if False:'),
        ('len(SYLLABUS_IDS) + int(id[1:])', 'len(SYLLABUS_IDS)'),
    ],
    ("lesson/predictions",): [
        ('if len(options) < 3:', 'if False:'),
        ('(options is None) == (answer == "")', 'False'),
    ],
}  # fmt: skip


def mutants() -> Iterator[Mutant]:
    """The faults, one by one."""
    for (module, *others), faults in FAULTS.items():
        topics = [Path("tests", topic) for topic in (module, *others)]
        tests = tuple(path.with_name(f"test_{path.name}.py").as_posix() for path in topics)
        for old, new in faults:
            yield Mutant(f"dlopt/{module}.py", old, new, tests)


def mutated(mutant: Mutant) -> str:
    """The module's text with the fault.

    Raises:
        ValueError: The text to be replaced does not stand there exactly once.
    """
    text = (ROOT / mutant.module).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.module}: {mutant.old!r} stands there {text.count(mutant.old)} ×")
    return text.replace(mutant.old, mutant.new)


def copy_of_the_project(folder: Path) -> Path:
    """Copy what the tests need."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def fail(tests: Iterable[str], project: Path) -> bool:
    """Whether one of the tests fails, or doesn't end: a fault may make a loop endless."""
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        run = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=300
        )
    except subprocess.TimeoutExpired:
        return True
    if run.returncode not in (0, 1):
        raise RuntimeError(f"the tests could not run: {run.stdout}{run.stderr}")
    return run.returncode == 1


def noticed(mutant: Mutant, project: Path) -> bool:
    """Whether a test fails with the fault in place."""
    path = project / mutant.module
    sound = path.read_text(encoding="utf-8")
    path.write_text(mutated(mutant), encoding="utf-8")
    try:
        return fail(mutant.tests, project)
    finally:
        path.write_text(sound, encoding="utf-8")


def main(names: list[str]) -> int:
    """Try all faults, or those of the modules named; report the survivors."""
    chosen = [m for m in mutants() if not names or Path(m.module).stem in names]
    if unknown := set(names) - {Path(m.module).stem for m in chosen}:
        print(f"no faults are known for {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(PROCESSES) as pool:
        projects: Queue[Path] = Queue()
        for k in range(PROCESSES):
            projects.put(copy_of_the_project(Path(folder) / str(k)))

        if fail({test for mutant in chosen for test in mutant.tests}, projects.queue[0]):
            print("The tests fail without any fault: mend that first")
            return 1

        def attempt(mutant: Mutant) -> bool:
            project = projects.get()
            found = noticed(mutant, project)
            projects.put(project)
            change = f"{mutant.old.strip()} → {mutant.new.strip()}".replace("\n", "⏎")
            print(f"{'noticed ' if found else 'SURVIVED'} {mutant.module}: {change}", flush=True)
            return found

        found = list(pool.map(attempt, chosen))
    print(f"{sum(found)} of {len(found)} noticed")
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
