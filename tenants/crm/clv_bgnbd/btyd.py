"""BG/NBD and Gamma-Gamma: maximum likelihood, and the fitted model as an ONNX graph.

Any team may copy this file. It needs one row per customer:

    x    repeat purchases: days with a purchase after the first such day
    t_x  weeks from the first to the last of these days, 0 without a repeat
    T    weeks from the first day to the day of the forecast
    m_x  mean spend of the repeat purchases, NaN without one

Sources. BG/NBD: Fader, Hardie, Lee (2005), "Counting your customers the easy way", equations 6 and 10.
Gamma-Gamma: Fader, Hardie (2013), "The Gamma-Gamma model of monetary value".
"""

import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import minimize
from scipy.special import betaln, gammaln

INPUTS = ("frequency", "recency_weeks", "age_weeks", "order_mean_usd")
OPSET = 17
# Of the substituted variable: the integral is then exact to 1e-8 for 0 to 2,000 repeat purchases.
QUADRATURE_STEP = 0.075
# Below this probability the integrand stands still, and 32 bits could not hold its square.
PROBABILITY_MIN = 1e-18


@dataclasses.dataclass(frozen=True)
class BgNbd:
    """Purchases come as a Poisson process at a Gamma(r, alpha) rate per week; after each purchase a
    customer leaves with a Beta(a, b) probability."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float


@dataclasses.dataclass(frozen=True)
class GammaGamma:
    """Orders of a customer scatter by Gamma(p) around a mean whose scale is Gamma(q, gamma)."""

    p: float
    q: float
    gamma: float
    log_likelihood: float


def bgnbd_log_likelihood(parameters, x, t_x, T):
    """Sum over customers, equation 6 of the paper."""
    r, alpha, a, b = parameters
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
    alive = -(r + x) * np.log(alpha + T)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.log(a) - np.log(b + x - 1) - (r + x) * np.log(alpha + t_x)
    return float(np.sum(common + np.logaddexp(alive, np.where(x > 0, left, -np.inf))))


def gamma_gamma_log_likelihood(parameters, x, m_x):
    """Sum over customers with a repeat purchase of positive mean spend."""
    p, q, gamma = parameters
    return float(
        np.sum(
            gammaln(p * x + q)
            - gammaln(p * x)
            - gammaln(q)
            + q * np.log(gamma)
            + (p * x - 1) * np.log(m_x)
            + p * x * np.log(x)
            - (p * x + q) * np.log(gamma + m_x * x)
        )
    )


def _maximise(log_likelihood, start):
    """Positive parameters by a simplex search over their logarithms, restarted until it stands still."""
    best = np.log(start)
    value = -log_likelihood(np.exp(best))
    for _ in range(10):
        found = minimize(
            lambda logs: -log_likelihood(np.exp(logs)),
            best,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 20_000, "maxfev": 20_000},
        )
        best, before, value = found.x, value, found.fun
        if before - value < 1e-8:
            return np.exp(best), float(-value)
    raise RuntimeError("the likelihood keeps rising: the data does not determine all parameters; give more customers or weeks")


def fit_bgnbd(x, t_x, T) -> BgNbd:
    """Fits by maximum likelihood."""
    found, value = _maximise(lambda parameters: bgnbd_log_likelihood(parameters, x, t_x, T), (0.5, 5.0, 1.0, 2.0))
    return BgNbd(*map(float, found), value)


def fit_gamma_gamma(x, m_x) -> GammaGamma:
    """Fits by maximum likelihood over customers with a repeat purchase of positive mean spend."""
    known = (x > 0) & (m_x > 0)
    found, value = _maximise(
        lambda parameters: gamma_gamma_log_likelihood(parameters, x[known], m_x[known]), (3.0, 3.0, 10.0)
    )
    return GammaGamma(*map(float, found), value)


def quadrature(model: BgNbd):
    """Nodes p in (0, 1) and log weights of the Beta(a, b) density's kernel, by tanh-sinh substitution.

    Gives (p, log(1 - p), log weight): sum(exp(log weight + x log(1 - p)) f(p)) / the same with f = 1
    is the mean of f under Beta(a, b + x).
    """
    reach = np.arcsinh(36 / (np.pi * min(model.a, model.b, 1.0)))  # exp(-36) is nothing beside 1
    tau = np.linspace(-reach, reach, 2 * int(np.ceil(reach / QUADRATURE_STEP)) + 1)
    logit = np.pi * np.sinh(tau)
    log_p, log_1_p = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    # dp = p (1 - p) dlogit, dlogit = pi cosh(tau) dtau
    log_weight = model.a * log_p + model.b * log_1_p + np.log(np.pi * np.cosh(tau))
    log_weight -= np.log(np.sum(np.exp(log_weight)))
    kept = log_weight > -80  # below that a weight is nothing in 32 bits
    return np.maximum(np.exp(log_p[kept]), PROBABILITY_MIN), log_1_p[kept], log_weight[kept]


class _Graph:
    """Nodes by name, so that the formulas below read from top to bottom."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def __call__(self, operator, *inputs, to, **attributes):
        inputs = [i if isinstance(i, str) else self.constant(f"{to}_constant_{k}", [[i]]) for k, i in enumerate(inputs)]
        self.nodes.append(helper.make_node(operator, inputs, [to], name=to, **attributes))
        return to


def export(bgnbd: BgNbd, spend: GammaGamma, horizon_weeks: float, as_of: str) -> onnx.ModelProto:
    """The fitted model as a graph of plain operators, in 32-bit floats.

    Inputs, each `[N, 1]`: `frequency` x, `recency_weeks` t_x, `age_weeks` T, `order_mean_usd` m_x.
    Outputs, each `[N, 1]`: `probability_alive`; `purchases` expected within the horizon;
    `order_value_usd` expected per purchase; `clv_usd`, their product, not discounted.

    Expected purchases are E[(1 - ((alpha + T) / (alpha + T + p t))^(r + x)) / p] under p ~ Beta(a, b + x),
    times the probability of being alive. That is equation 10 before its integral is solved by the Gaussian
    hypergeometric function: as a sum over fixed nodes it has no cancellation, needs no series whose
    length depends on the customer, and holds at a = 1 as well.
    """
    g = _Graph()
    x, t_x, T, m_x = INPUTS
    r, alpha, a, b = bgnbd.r, bgnbd.alpha, bgnbd.a, bgnbd.b

    shape = g("Add", x, r, to="shape")  # r + x
    scale = g("Add", T, alpha, to="scale")  # alpha + T
    repeated = g("Greater", x, 0.0, to="repeated")

    # P(alive) = 1 / (1 + [x > 0] a / (b + x - 1) ((alpha + T) / (alpha + t_x))^(r + x))
    silence = g("Div", scale, g("Add", t_x, alpha, to="scale_at_last"), to="silence")
    growth = g("Exp", g("Mul", shape, g("Log", silence, to="log_silence"), to="log_growth"), to="growth")
    left = g("Div", a, g("Add", x, b - 1.0, to="stayed"), to="left")
    odds = g("Where", repeated, g("Mul", left, growth, to="odds_left"), 0.0, to="odds")
    alive = g("Reciprocal", g("Add", odds, 1.0, to="one_and_odds"), to="probability_alive")

    # E[f(p)] under Beta(a, b + x), f(p) = (1 - exp(-y)) / p with y = (r + x) log(1 + p t / (alpha + T)).
    # log(1 + v) = 2 atanh(v / (2 + v)) and 1 - exp(-y) = 2 h / (1 + h) with h = tanh(y / 2) stay exact near 0.
    p, log_1_p, log_weight = quadrature(bgnbd)
    p_row = g.constant("p", [p])
    weight = g("Mul", x, g.constant("log_1_p", [log_1_p]), to="log_stay")
    weight = g("Exp", g("Add", weight, g.constant("log_weight", [log_weight]), to="log_weight_x"), to="weight")
    v = g("Div", g("Mul", p_row, horizon_weeks, to="p_t"), scale, to="v")
    half_y = g("Mul", shape, g("Atanh", g("Div", v, g("Add", v, 2.0, to="v_2"), to="v_ratio"), to="half_log"), to="half_y")
    h = g("Tanh", half_y, to="h")
    per_p = g("Div", g("Mul", h, g.constant("two_over_p", [2.0 / p]), to="h_2"), g("Add", h, 1.0, to="h_1"), to="f")
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    g.constants.append(axes)
    total = g("ReduceSum", g("Mul", weight, per_p, to="weighted"), "axes", to="total", keepdims=1)
    norm = g("ReduceSum", weight, "axes", to="norm", keepdims=1)
    purchases = g("Mul", alive, g("Div", total, norm, to="purchases_if_alive"), to="purchases")

    # E[order value] = p (gamma + m_x x) / (p x + q - 1); the population's mean where no repeat purchase is known.
    known = g("And", repeated, g("Not", g("IsNaN", m_x, to="mean_is_unknown"), to="mean_is_known"), to="known")
    orders = g("Where", known, x, 0.0, to="known_orders")
    spent = g("Where", known, g("Mul", m_x, x, to="repeat_spend"), 0.0, to="spent")
    numerator = g("Mul", g("Add", spent, spend.gamma, to="spent_gamma"), spend.p, to="value_numerator")
    denominator = g("Add", g("Mul", orders, spend.p, to="p_x"), spend.q - 1.0, to="value_denominator")
    value = g("Div", numerator, denominator, to="order_value_usd")
    g("Mul", purchases, value, to="clv_usd")

    column = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1])
    outputs = ("probability_alive", "purchases", "order_value_usd", "clv_usd")
    graph = helper.make_graph(g.nodes, "bgnbd_gamma_gamma", [column(i) for i in INPUTS], [column(o) for o in outputs], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="btyd.py")
    facts = {f"bgnbd_{k}": v for k, v in dataclasses.asdict(bgnbd).items()}
    facts |= {f"gamma_gamma_{k}": v for k, v in dataclasses.asdict(spend).items()}
    helper.set_model_props(model, {k: repr(float(v)) for k, v in facts.items()} | {"horizon_weeks": repr(float(horizon_weeks)), "as_of": as_of})
    onnx.checker.check_model(model)
    return model
