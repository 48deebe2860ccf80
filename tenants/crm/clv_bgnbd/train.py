"""Fits BG/NBD and Gamma-Gamma on the CDNOW purchases and exports them as one ONNX model.

usage: python train.py [ORDERS.parquet]    fits the whole cohort, writes model.onnx beside this file and
                                           prints the fit, the published fit and the error of the hold-out weeks
       python train.py --check             fits again, compares with the published figures, with the model
                                           that is committed and with the closed form; fails on a difference
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import pandas
from scipy.special import hyp2f1

import btyd

HERE = pathlib.Path(__file__).parent
ORDERS = HERE / "../../../deploy/demo/lake/crm/cdnow/orders.parquet"
# The 2,357 customers (one in ten) on whom the literature publishes its figures.
SAMPLE = HERE / "published_sample.txt"
AS_OF = "1997-09-30"
HORIZON_WEEKS = 39.0
# Fader, Hardie, Lee (2005), table 2, and Fader, Hardie (2013), section 4; as many digits as printed.
PUBLISHED_BGNBD = {"r": "0.243", "alpha": "4.414", "a": "0.793", "b": "2.426", "log_likelihood": "-9582.4"}
PUBLISHED_GAMMA_GAMMA = {"p": "6.25", "q": "3.74", "gamma": "15.44"}


def histories(orders: pandas.DataFrame) -> pandas.DataFrame:
    """features.sql in pandas: x, t_x, T (weeks) and m_x by customer."""
    orders = orders.assign(day=pandas.to_datetime(orders["ordered_at"]))
    days = orders[orders["day"] <= AS_OF].groupby(["customer_id", "day"], as_index=False)["amount_usd"].sum()
    by_customer = days.groupby("customer_id")
    first, last = by_customer["day"].min(), by_customer["day"].max()
    repeats = days[days["day"] > days["customer_id"].map(first)]
    return pandas.DataFrame(
        {
            "frequency": by_customer.size() - 1.0,
            "recency_weeks": (last - first).dt.days / 7,
            "age_weeks": (pandas.Timestamp(AS_OF) - first).dt.days / 7,
            "order_mean_usd": repeats.groupby("customer_id")["amount_usd"].mean(),
        }
    )


def fit(table: pandas.DataFrame) -> tuple[btyd.BgNbd, btyd.GammaGamma]:
    x, t_x, T, m_x = (table[name].to_numpy(float) for name in btyd.INPUTS)
    return btyd.fit_bgnbd(x, t_x, T), btyd.fit_gamma_gamma(x, m_x)


def score(model: onnx.ModelProto, table: pandas.DataFrame) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {name: table[name].to_numpy(np.float32)[:, None] for name in btyd.INPUTS}
    names = [output.name for output in session.get_outputs()]
    return {name: values.reshape(-1).astype(float) for name, values in zip(names, session.run(None, feed))}


def closed_form(bgnbd: btyd.BgNbd, spend: btyd.GammaGamma, table: pandas.DataFrame) -> dict[str, np.ndarray]:
    """The papers' formulas as printed, with the hypergeometric function; the graph takes another way."""
    x, t_x, T, m_x = (table[name].to_numpy(float) for name in btyd.INPUTS)
    r, alpha, a, b, t = bgnbd.r, bgnbd.alpha, bgnbd.a, bgnbd.b, HORIZON_WEEKS
    left = np.where(x > 0, a / (b + x - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x), 0.0)
    series = hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + T + t))
    purchases = (a + b + x - 1) / (a - 1) * (1 - ((alpha + T) / (alpha + T + t)) ** (r + x) * series) / (1 + left)
    spent = np.where(x > 0, np.nan_to_num(m_x) * x, 0.0)
    value = spend.p * (spend.gamma + spent) / (spend.p * x + spend.q - 1)
    return {"probability_alive": 1 / (1 + left), "purchases": purchases, "order_value_usd": value, "clv_usd": purchases * value}


def hold_out_error(predicted: np.ndarray, table: pandas.DataFrame, orders: pandas.DataFrame) -> None:
    day = pandas.to_datetime(orders["ordered_at"])
    spent = orders[day > AS_OF].groupby("customer_id")["amount_usd"].sum().reindex(table.index, fill_value=0.0)
    error = predicted - spent.to_numpy()
    print(f"hold-out weeks: predicted {predicted.sum():,.0f} USD, spent {spent.sum():,.0f} USD")
    print(f"RMSE {np.sqrt(np.mean(error**2)):.2f} USD, MAE {np.mean(np.abs(error)):.2f} USD")


def rounded(fitted: object, published: dict[str, str]) -> dict[str, str]:
    return {name: f"{getattr(fitted, name):.{len(text.partition('.')[2])}f}" for name, text in published.items()}


def check(table: pandas.DataFrame, model: onnx.ModelProto, bgnbd: btyd.BgNbd, spend: btyd.GammaGamma) -> None:
    sample = table.loc[np.loadtxt(SAMPLE, dtype=int)]
    for fitted, published in zip(fit(sample), (PUBLISHED_BGNBD, PUBLISHED_GAMMA_GAMMA)):
        found = rounded(fitted, published)
        assert found == published, f"fitted {found}, published {published}"
        print(f"fitted on the published sample: {found}, as published")
    kept = onnx.load(HERE / "model.onnx")
    made, exact = score(model, table), closed_form(bgnbd, spend, table)
    for name, values in score(kept, table).items():
        for other, against in ((made[name], "the model of this fit"), (exact[name], "the closed form")):
            worst = np.max(np.abs(values - other) / np.maximum(np.abs(other), 1e-6))
            assert worst < 1e-5, f"{name}: {worst:.1e} from {against}"
        print(f"{name}: at most {worst:.1e} from the closed form, relative, over {len(values):,} customers")


def main() -> None:
    given = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    orders = pandas.read_parquet(given[0] if given else ORDERS)
    table = histories(orders)
    bgnbd, spend = fit(table)
    model = btyd.export(bgnbd, spend, HORIZON_WEEKS, AS_OF)
    if "--check" in sys.argv:
        return check(table, model, bgnbd, spend)
    onnx.save(model, HERE / "model.onnx")
    print(bgnbd, spend, sep="\n")
    hold_out_error(score(model, table)["clv_usd"], table, orders)


if __name__ == "__main__":
    main()
