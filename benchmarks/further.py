r"""Smooth problems beside those of Moré, Garbow and Hillstrom, with their minima.

Where the minimum has a closed form, it stands here as a formula; the other values were computed
from several starts by methods of SciPy, which agree to all digits shown, and by Newton's method
until the gradient was zero to rounding. Local minima are listed where runs have ended in them.
Published values that disagree belong to other versions of a problem: SISSER, SINQUAD and FLETCHCR
of CUTEst differ from the papers in a sign, a square and a factor.
"""

import math

import torch
from torch import Tensor

from benchmarks import many_variable_functions as many
from benchmarks import small_functions as small
from benchmarks import waves_and_exponentials as waves
from benchmarks.problem import Problem, vector


def _alternating(n: int, *values: float) -> Tensor:
    """The values, over and over, (n,)."""
    return vector(*values).repeat(math.ceil(n / len(values)))[:n]


def _small() -> tuple[Problem, ...]:
    """Two to eight variables, each problem with a difficulty of its own."""
    root = math.log(2) / 2
    return (
        Problem("cliff", small.cliff, vector(0, -1), (1 + math.log(20)) / 20,
                minimizer=vector(3, 3 + math.log(20) / 20),
                source="CUTEst CLIFF; Buckley (1989) 206"),
        Problem("cube", small.cube, vector(-1.2, 1), minimizer=vector(1, 1),
                source="CUTEst CUBE; Buckley 5"),
        Problem("himmelblau_exponential", small.himmelblau_exponential, vector(0.5, 0.5),
                minimizer=vector(0, 0), source="CUTEst HIMMELBG; Himmelblau (1972) 33"),
        Problem("himmelblau_fit", small.himmelblau_fit, vector(2.7, 90, 1500, 10),
                318.5717487911227, source="CUTEst HIMMELBF; Himmelblau (1972) 32"),
        Problem("sine_valley", small.sine_valley, vector(4.712389, -1), minimizer=vector(0, 0),
                source="CUTEst SINEVAL; Xiao and Zhou (1992) 4.2"),
        Problem("sisser", small.sisser, vector(1, 0.1), minimizer=vector(0, 0),
                source="Sisser, Mathematical Programming 20 (1981); Buckley 216"),
        Problem("snail", small.snail, vector(10, 10), source="CUTEst SNAIL"),
        Problem("zangwill", small.zangwill, vector(3, 8), -18.2, minimizer=vector(4, 9),
                source="CUTEst ZANGWIL2; Buckley 7"),
        Problem("bracken_mccormick", small.bracken_mccormick, vector(2, 2), 0.16904267919645,
                source="CUTEst BRKMCC; Buckley 85"),
        Problem("dennis_schnabel_a", small.dennis_schnabel_a, vector(1, 1), minimizer=vector(0, 0),
                source="CUTEst DENSCHNA; Dennis and Schnabel (1983), p. 206"),
        Problem("dennis_schnabel_b", small.dennis_schnabel_b, vector(1, 1), minimizer=vector(2, -1),
                source="CUTEst DENSCHNB; Dennis and Schnabel (1983), p. 201"),
        Problem("dennis_schnabel_c", small.dennis_schnabel_c, vector(2, 3), minimizer=vector(1, 1),
                source="CUTEst DENSCHNC; Dennis and Schnabel (1983), p. 98"),
        Problem("dennis_schnabel_d", small.dennis_schnabel_d, vector(10, 10, 10),
                minimizer=vector(0, 0, 0),
                source="CUTEst DENSCHND; Dennis and Schnabel (1983), p. 83"),
        Problem("dennis_schnabel_e", small.dennis_schnabel_e, vector(2, 3, -8),
                minimizer=vector(0, 0, 0),
                source="CUTEst DENSCHNE; Dennis and Schnabel (1983), p. 107"),
        Problem("dennis_schnabel_f", small.dennis_schnabel_f, vector(2, 0),
                source="CUTEst DENSCHNF; Dennis and Schnabel (1983), p. 107"),
        Problem("engvall", small.engvall, vector(1, 2, 0), minimizer=vector(0, 0, 1),
                source="CUTEst ENGVAL2; Buckley 15"),
        Problem("exponential_fit", small.exponential_fit, vector(0, 0), 0.24051059399905824,
                source="CUTEst EXPFIT; Conn, Gould and Toint (1992)"),
        Problem("log_rosenbrock", small.log_rosenbrock, vector(-1.2, 1), minimizer=vector(1, 1),
                source="CUTEst LOGROS"),
        Problem("maratos", small.maratos, vector(1.1, 0.1), -1.0000000624999922,
                source="CUTEst MARATOSB"),
        Problem("mexican_hat", small.mexican_hat, vector(0.86, 0.72), -0.04001,
                minimizer=vector(1 - math.sqrt(0.02001), (1 - math.sqrt(0.02001)) ** 2),
                source="CUTEst MEXHAT; Brown and Bartholomew-Biggs (1987)"),
        Problem("schittkowski_308", small.schittkowski_308, vector(3, 0.1), 0.7731990564929237,
                source="CUTEst S308; Schittkowski (1987) 308"),
        Problem("trust_region_scaling", small.trust_region_scaling, vector(-1.2, 1, 1e10, 1e10),
                minimizer=vector(1, 1, 0, 0), source="after CUTEst STREG"),
        Problem("all_initial", small.all_initial, vector(0, 0, 0, 0), 5.744384910320335,
                source="CUTEst ALLINITU"),
        Problem("hatfield_d", small.hatfield_d, vector(1, -1, 0), 6.615113918632e-08,
                source="CUTEst HATFLDD; OPTIMA manual 8 (1989), p. 35"),
        Problem("heart", small.heart, vector(0, 1, 0, 1, 1, 1, 1, 1),
                source="CUTEst HEART8LS; Dennis, Gay and Vu (1983)"),
        Problem("camera", small.camera, vector(0.6, -0.6, 20), 6.6697205e-13,
                source="CUTEst YFITU"),
        Problem("six_hump_camel", small.six_hump_camel, vector(1.1, 1.1), -1.0316284534898774,
                (-0.21546382438371836, 2.1042503103112566),
                source="CUTEst CAMEL6; Dixon and Szegö (1975)"),
        Problem("three_exponentials", waves.three_exponentials, _alternating(10, 0.1),
                5 * math.sqrt(8) * math.exp(-0.1), minimizer=_alternating(10, -root, 0),
                source="Andrei (2008), extended three exponential terms"),
        Problem("line_to_a_million", small.line_to_a_million, vector(0, 0), minimizer=vector(2, 5),
                note="a bound on the largest entry of the gradient alone misses the second"),
        Problem("hyperbola", small.hyperbola, vector(1e-6), 2.0, minimizer=vector(1),
                note="the first gradient is 1e12; unbounded on the other side of zero"),
        Problem("longley", small.longley, vector(*7 * [0.0]), 836424.055505915,
                minimizer=vector(-3482258.63459582, 15.0618722713733, -0.0358191792925910,
                                 -2.02022980381683, -1.03322686717359, -0.0511041056535807,
                                 1829.15146461355),
                source="NIST StRD Longley (linear)"),
        Problem("rosenbrock_far", many.chained_rosenbrock, vector(10, -10), minimizer=vector(1, 1),
                source="Rosenbrock's function from across the valley"),
    )  # fmt: skip


def _valleys() -> tuple[Problem, ...]:
    """Long narrow valleys."""
    ones = _alternating(100, 1)
    i = torch.arange(1, 101, dtype=torch.float64)
    return (
        Problem("chained_rosenbrock", many.chained_rosenbrock, _alternating(20, -1.2, 1),
                other_minima=(3.9866238542611976,), minimizer=ones[:20],
                source="Lukšan and Vlček (1999) 2.1"),
        Problem("chained_wood", many.chained_wood,
                torch.cat((vector(-3, -1, -3, -1), _alternating(16, -2, 0))),
                other_minima=(3.5678430158758716, 3.569363984002764, 6.975007745870705,
                              6.9750143283511115, 11.410507897487712, 15.578481782880518),
                minimizer=ones[:20], source="Lukšan and Vlček (1999) 2.2"),
        Problem("scaled_rosenbrock", many.scaled_rosenbrock, -ones[:10], minimizer=ones[:10],
                source="CUTEst CHNROSNB; Toint (1978)"),
        Problem("erroneous_rosenbrock", many.erroneous_rosenbrock, -ones[:10],
                6.694632140396117, (7.1949689140299125,), source="CUTEst ERRINROS"),
        Problem("generalized_rosenbrock", many.generalized_rosenbrock, i[:20] / 21, 1.0,
                minimizer=ones[:20], source="CUTEst GENROSE; Nash (1984) 5"),
        Problem("inseparable_rosenbrock", many.inseparable_rosenbrock, -ones[:10],
                minimizer=ones[:10], source="CUTEst EXTROSNB; Toint (1983) 10"),
        Problem("fletcher_chain", many.fletcher_chain, 0 * ones[:20],
                source="Andrei (2008), FLETCHCR; Fletcher (1992) 2"),
        Problem("oscillating_path", many.oscillating_path, torch.cat((-ones[:1], ones[:4])),
                minimizer=ones[:5], source="CUTEst OSCIPATH; Nesterov"),
        Problem("nondiagonal", many.nondiagonal, -ones[:20], minimizer=ones[:20],
                other_minima=(0.9898968740951861,), source="CUTEst NONDIA; Shanno (1978)"),
        Problem("liarwhd", many.liarwhd, 4 * ones[:36], minimizer=ones[:36],
                other_minima=(3.633460793492803, 7.031990934795732),
                source="CUTEst LIARWHD; Li (1990)"),
        Problem("chained_freudenstein_roth", many.chained_freudenstein_roth,
                torch.cat((vector(0.5, -2), 0 * ones[:8])), 1014.0640725745183,
                source="CUTEst FREUROTH; Toint (1983) 33"),
    )  # fmt: skip


def _flat() -> tuple[Problem, ...]:
    """Minima with a singular Hessian."""
    ones = _alternating(100, 1)
    i = torch.arange(1, 101, dtype=torch.float64)
    return (
        Problem("quartic", many.quartic, 2 * ones[:50], minimizer=i[:50],
                source="CUTEst DQRTIC; Buckley 157"),
        Problem("power", many.power, ones[:20], minimizer=0 * ones[:20],
                source="CUTEst POWER; Oren (1974)"),
        Problem("sparse_square", many.sparse_square, 0.5 * ones[:50], minimizer=0 * ones[:50],
                source="CUTEst SPARSQUR"),
        Problem("nondiagonal_quartic", many.nondiagonal_quartic, _alternating(20, 1, -1),
                minimizer=0 * ones[:20], source="CUTEst NONDQUAR; Conn et al. (1988) 57"),
        Problem("sine_quadratic", many.sine_quadratic, 0.1 * ones[:5], minimizer=ones[:5],
                source="Andrei (2008), SINQUAD"),
        Problem("chained_powell_singular", many.chained_powell_singular,
                _alternating(20, 3, -1, 0, 1), minimizer=0 * ones[:20],
                source="Lukšan and Vlček (1999) 2.3"),
        Problem("chained_cragg_levy_4", many.chained_cragg_levy, vector(1, 2, 2, 2),
                other_minima=(0.1944813958949818, 0.5932562064162746), minimizer=vector(0, 1, 1, 1),
                source="CUTEst CRAGGLVY; Toint (1983) 32"),
        Problem("chained_cragg_levy_10", many.chained_cragg_levy,
                torch.cat((ones[:1], 2 * ones[:9])), 1.88656589666311,
                (3.8999319951950913, 4.515351891754346, 4.950917094030576),
                source="CUTEst CRAGGLVY; Lukšan and Vlček (1999) 2.4"),
        Problem("tridiagonal_quartic", many.tridiagonal_quartic, 2 * ones[:20],
                minimizer=_alternating(20, 1, 2), source="Andrei (2008), extended tridiagonal 1"),
        Problem("overlapping_tridiagonal_quartic", many.overlapping_tridiagonal_quartic,
                2 * ones[:20], 17.21030764208699,
                source="Andrei (2008), generalized tridiagonal 1"),
        Problem("broyden_power", many.broyden_power, -ones[:20],
                source="Lukšan and Vlček (1999) 2.5"),
        Problem("seven_diagonal", many.seven_diagonal, -ones[:10], 3.828139097312339,
                source="CUTEst BROYDN7D; Lukšan and Vlček (1999) 2.7"),
    )  # fmt: skip


def _quartics() -> tuple[Problem, ...]:
    """Quartics with J* other than zero, the curly double wells among them."""
    ones = _alternating(100, 1)
    i = torch.arange(1, 101, dtype=torch.float64)
    upper, lower = _curly_wells()
    return (
        Problem("arwhead", many.arwhead, ones, minimizer=torch.cat((ones[:99], 0 * ones[:1])),
                source="CUTEst ARWHEAD; Conn et al. (1988) 55"),
        Problem("engval", many.engval, 2 * ones[:50], 53.582214885207605,
                source="CUTEst ENGVAL1; Toint (1983) 31"),
        Problem("bdqrtic", many.bdqrtic, ones, 378.7691918086842,
                source="CUTEst BDQRTIC; Conn et al. (1988) 61"),
        Problem("edensch", many.edensch, 8 * ones[:36], 219.28459202076462,
                source="CUTEst EDENSCH; Li (1990)"),
        *(
            Problem(f"curly_{n}", many.curly(width), 1e-4 * i[:n] / (n + 1), n * lower,
                    tuple((n - k) * lower + k * upper for k in range(1, n + 1)),
                    note="each sum chooses between two wells", source="CUTEst CURLY")
            for n, width in ((4, 4), (30, 10))
        ),
        *(
            Problem(f"dixon_maany_{letter}", many.dixon_maany(coefficients, powers), 2 * ones[:30],
                    1.0, minimizer=0 * ones[:30],
                    source=f"CUTEst DIXMAAN{letter.upper()}; Dixon and Maany (1988)")
            for letter, coefficients, powers in (
                ("a", (1, 0, 0.125, 0.125), (0, 0, 0, 0)),
                ("h", (1, 0.26, 0.26, 0.26), (1, 0, 0, 1)),
                ("l", (1, 0.26, 0.26, 0.26), (2, 0, 0, 2)),
            )
        ),
    )  # fmt: skip


def _curly_wells() -> tuple[float, float]:
    """The minima of q⁴ - 20q² - q/10 at the roots of 4q³ - 40q - 1/10 below and above zero."""
    values = []
    for q in (-math.sqrt(10), math.sqrt(10)):
        for _ in range(20):
            q -= (4 * q**3 - 40 * q - 0.1) / (12 * q**2 - 40)
        values.append(q * (q * (q**2 - 20) - 0.1))
    return values[0], values[1]


def _waves() -> tuple[Problem, ...]:
    """Quadratics, exponentials, waves and matrix equations."""
    ones = _alternating(100, 1)
    i = torch.arange(1, 101, dtype=torch.float64)
    k = i[:20]
    squares = torch.sin(i[:9] ** 2)
    return (
        Problem("hilbert", waves.hilbert(0), -3 * ones[:10], minimizer=0 * ones[:10],
                source="CUTEst HILBERTA; Schittkowski (1987)"),
        Problem("hilbert_shifted", waves.hilbert(5), -3 * ones[:10], minimizer=0 * ones[:10],
                source="CUTEst HILBERTB; Buckley 19"),
        Problem("dqdrtic", waves.dqdrtic, 3 * ones[:10], minimizer=0 * ones[:10],
                source="CUTEst DQDRTIC; Toint (1983) 22"),
        Problem("tridiagonal", waves.tridiagonal, ones[:20], minimizer=0.5 ** (k - 1),
                source="CUTEst TRIDIA; Toint (1983) 8"),
        Problem("perturbed_quadratic", waves.perturbed_quadratic, 0.5 * ones[:20],
                minimizer=0 * ones[:20], source="Andrei (2008), perturbed quadratic"),
        Problem("biggs_b1", waves.biggs_b1, 0 * ones[:50], minimizer=ones[:50],
                source="Andrei (2008), BIGGSB1"),
        Problem("raydan_1", waves.raydan_1, ones[:20], 21.0, minimizer=0 * ones[:20],
                source="Andrei (2008), Raydan 1"),
        Problem("raydan_2", waves.raydan_2, ones[:20], 20.0, minimizer=0 * ones[:20],
                source="Andrei (2008), Raydan 2"),
        Problem("diagonal_1", waves.diagonal_1, ones[:20] / 20, float((k - k * k.log()).sum()),
                minimizer=k.log(), source="Andrei (2008), Diagonal 1"),
        Problem("hager", waves.hager, ones[:20], float((k.sqrt() * (1 - k.log() / 2)).sum()),
                minimizer=k.log() / 2, source="Andrei (2008), Hager"),
        Problem("quadratic_exponential", waves.quadratic_exponential, 1.5 * ones[:2],
                15.863525762945395, source="Andrei (2008), extended quadratic exponential EP1"),
        Problem("cosine", waves.cosine, ones[:10], -9.0, source="CUTEst COSINE"),
        Problem("fletcher_boundary_value", waves.fletcher_boundary_value, i[:10] / 11,
                -0.6154414532683079, source="CUTEst FLETCBV2; Fletcher (1992) 1"),
        Problem("schmidt_vetters", waves.schmidt_vetters, 0.5 * ones[:10], -24.0,
                minimizer=math.pi / (1 + math.pi) * ones[:10],
                source="CUTEst SCHMVETT; Schmidt and Vetters (1970)"),
        Problem("toint_gaussians", waves.toint_gaussians, 3 * ones[:10], 10.0,
                (11.25,), note="the second is a limit, one variable being far from the others",
                minimizer=0 * ones[:10], source="CUTEst TOINTGSS; Toint (1983) 21"),
        Problem("extended_himmelblau", waves.extended_himmelblau, ones[:10],
                minimizer=_alternating(10, 3, 2), source="Andrei (2008), extended Himmelblau"),
        Problem("eigen", waves.eigen, torch.cat((ones[:4], torch.eye(4).double().reshape(-1))),
                source="CUTEst EIGENBLS"),
        Problem("square_root_of_a_matrix", waves.square_root_of_a_matrix, squares / 5,
                minimizer=squares, source="CUTEst MSQRTALS; Buckley 201"),
    )  # fmt: skip


PROBLEMS: tuple[Problem, ...] = (*_small(), *_valleys(), *_flat(), *_quartics(), *_waves())
