"""Training data and the feature tables that models are scored on.

Everything is drawn from the seed. With seed 0 sizes are the defaults; any other seed draws sizes as
well, so that exports of other widths, depths and counts are tried.
"""

import numpy as np
import pandas

TRAIN_ROWS = 1_200
SCORE_ROWS = 4_096
REGIONS = ["north", "south", "east", "west"]
PLANS = ["basic", "plus", "premium"]
DEVICES = ["ios", "android", "web", "tv", "kiosk"]
UNSEEN = "never-seen"
NAN_SHARE = 0.08

# Columns hold plain Python strings whatever pandas would infer.
pandas.set_option("future.infer_string", False)


class Draw:
    """Sizes and constants that vary with the seed."""

    def __init__(self, seed):
        self.seed = seed
        self.random = np.random.default_rng(seed)

    def size(self, default, low, high):
        """`default` for seed 0, else a whole number from `low` to `high`."""
        drawn = int(self.random.integers(low, high + 1))
        return drawn if self.seed else default

    def choice(self, default, *others):
        drawn = self.random.integers(0, 1 + len(others))
        return (default, *others)[drawn] if self.seed else default


class Data:
    """All tables of one seed. `x` and what ends in `_y` train; `tables` are scored."""

    def __init__(self, seed):
        self.draw = Draw(seed)
        self.random = np.random.default_rng(seed + 1_000)
        self.width = self.draw.size(12, 6, 20)
        self.x = self.matrix(TRAIN_ROWS)
        self.x_nan = self.with_nan(self.x)
        self.counts = self.random.integers(0, 9, (TRAIN_ROWS, self.width)).astype(np.int64)
        x = self.x
        noise = self.random.normal(0, 0.3, TRAIN_ROWS)
        score = 1.5 * x[:, 0] - x[:, 1] + 0.5 * x[:, 2] * x[:, 3] + np.sin(2 * x[:, 4]) + noise
        self.regression_y = (20 + 5 * score).astype(np.float32)
        self.regression2_y = np.stack([self.regression_y, 3 - 2 * x[:, 5] + score], 1).astype(np.float32)
        self.positive_y = np.exp(0.4 * score).astype(np.float32) + 0.1
        self.count_y = self.random.poisson(np.exp(0.3 * score)).astype(np.float32)
        self.binary_y = (score > 0.2).astype(np.int64)
        self.three_y = np.digitize(score, [-1.2, 1.2]).astype(np.int64)
        self.words_y = np.array(["low", "middle", "high"], dtype=object)[self.three_y]
        self.yes_no_y = np.array(["no", "yes"], dtype=object)[self.binary_y]
        self.odd_y = np.array([10, -3, 200], dtype=np.int64)[self.three_y]
        self.multilabel_y = np.stack([score > 0, x[:, 5] > 0.3, x[:, 1] + x[:, 6 % self.width] > 0], 1).astype(np.int64)
        self.multiclass2_y = np.stack([self.three_y, self.binary_y], 1)
        self.frame = self.mixed(TRAIN_ROWS, unseen=False)
        frame = self.frame
        self.frame_score = (
            frame.spend * 0.6 + (frame.region == "north") * 1.5 - (frame.plan == "basic") * 1.0 + frame.visits * 0.1 + noise
        ).to_numpy()
        self.frame_y = (self.frame_score > np.median(self.frame_score)).astype(np.int64)
        self.tables = self.score_tables()

    def training(self, table):
        """What a model learns from that is scored on a matrix table."""
        return {
            "dense": self.x,
            "missing": self.x_nan,
            "positive": np.abs(self.x),
            "double": self.x.astype(np.float64),
            "double_missing": self.x_nan.astype(np.float64),
            "counts": self.counts,
            "flags": self.counts % 2 == 0,
        }[table]

    def matrix(self, rows):
        return self.random.normal(0, 1.3, (rows, self.width)).astype(np.float32)

    def with_nan(self, values):
        values = values.copy()
        values[self.random.random(values.shape) < NAN_SHARE] = np.nan
        return values

    def mixed(self, rows, unseen):
        """Strings, integers, floats and a boolean, as a query gives them."""
        def words(known):
            drawn = self.random.choice(known, rows).astype(object)
            if unseen:
                drawn[self.random.random(rows) < 0.05] = UNSEEN
            return drawn

        frame = pandas.DataFrame({
            "region": words(REGIONS),
            "plan": words(PLANS),
            "device": words(DEVICES),
            "visits": self.random.integers(0, 40, rows).astype(np.int64),
            "age": self.random.integers(18, 90, rows).astype(np.int64),
            "spend": self.random.gamma(2.0, 1.5, rows).astype(np.float32),
            "recency": self.random.uniform(0, 365, rows).astype(np.float32),
            "tenure": self.random.uniform(0, 20, rows).astype(np.float32),
        })
        frame["spend_nan"] = self.with_nan(frame.spend.to_numpy())
        frame["recency_nan"] = self.with_nan(frame.recency.to_numpy())
        return frame

    def score_tables(self):
        """Feature tables by name: ordered columns of SCORE_ROWS values."""
        dense = self.matrix(SCORE_ROWS)
        # Some rows that the model has seen: ties with thresholds, distances of 0.
        dense[:200] = self.x[:200]
        missing = self.with_nan(dense)
        counts = self.random.integers(0, 11, (SCORE_ROWS, self.width)).astype(np.int64)
        known, unseen = self.mixed(SCORE_ROWS, False), self.mixed(SCORE_ROWS, True)
        return {
            "dense": columns(dense),
            "missing": columns(missing),
            "positive": columns(np.abs(dense)),
            "double": columns(dense.astype(np.float64) + 1e-9),
            "double_missing": columns(missing.astype(np.float64)),
            "counts": columns(counts),
            "flags": columns(counts % 2 == 0),
            "known": {name: known[name].to_numpy() for name in known.columns},
            "unseen": {name: unseen[name].to_numpy() for name in unseen.columns},
        }


def columns(matrix):
    return {f"f{index}": np.ascontiguousarray(column) for index, column in enumerate(matrix.T)}
