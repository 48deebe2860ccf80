"""Strings, integers and floats side by side, one input per column or one matrix per type."""

import lightgbm
import numpy as np
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, LabelBinarizer, LabelEncoder, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

from cases import Export, estimators_of

WORDS = ["region", "plan", "device"]
NUMBERS = ["spend", "recency", "tenure"]
MISSING = ["spend_nan", "recency_nan"]
COUNTS = ["visits", "age"]
BOOSTED_OPSET = {"": 15, "ai.onnx.ml": 3}


def register(cases):
    columns(cases)
    matrices(cases)
    single(cases)
    text(cases)


def one_hot(**more):
    return OneHotEncoder(handle_unknown="ignore", **more)


def unknown_is_minus_one():
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def logistic():
    return LogisticRegression(max_iter=500)


def forest():
    return RandomForestClassifier(10, max_depth=6, random_state=0)


def columns(cases):
    cases.section = "Columns of several types"
    data = cases.data

    def add(name, what, parts, model, used, **more):
        transformer = ColumnTransformer(parts, sparse_threshold=0)
        cases.frame(name, what, Pipeline([("columns", transformer), ("model", model)]), used, **more)

    numbers = ("numbers", StandardScaler(), NUMBERS)
    everything = WORDS + COUNTS + NUMBERS
    add("columns_one_hot_logistic", "one-hot strings, scaled numbers → LogisticRegression",
        [("words", one_hot(), WORDS), numbers], logistic(), WORDS + NUMBERS, table="unseen")
    add("columns_one_hot_logistic_zipmap_off", "one-hot strings, scaled numbers → LogisticRegression, zipmap off",
        [("words", one_hot(), WORDS), numbers], logistic(), WORDS + NUMBERS, table="unseen", options={"zipmap": False})
    add("columns_one_hot_forest", "one-hot strings, scaled numbers → RandomForestClassifier",
        [("words", one_hot(), WORDS), numbers], forest(), WORDS + NUMBERS, table="unseen")
    add("columns_ordinal_forest", "ordinal strings, numbers as they are → RandomForestClassifier",
        [("words", unknown_is_minus_one(), WORDS), ("numbers", "passthrough", NUMBERS)], forest(), WORDS + NUMBERS)
    add("columns_ordinal_boosting", "ordinal strings → HistGradientBoostingClassifier",
        [("words", OrdinalEncoder(), WORDS), ("numbers", "passthrough", MISSING)], HistGradientBoostingClassifier(max_iter=10), WORDS + MISSING)
    add("columns_target_logistic", "target-encoded strings → LogisticRegression",
        [("words", TargetEncoder(random_state=0), WORDS), numbers], logistic(), WORDS + NUMBERS, table="unseen")
    add("columns_imputed_logistic", "one-hot strings, imputed numbers → LogisticRegression",
        [("words", one_hot(), WORDS), ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), MISSING)],
        logistic(), WORDS + MISSING, table="unseen")
    add("columns_imputed_strings", "imputed strings → LogisticRegression",
        [("words", make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=""), one_hot()), WORDS), numbers], logistic(), WORDS + NUMBERS)
    add("columns_integers_and_floats", "integers, floats and strings → LogisticRegression",
        [("words", one_hot(), WORDS), ("counts", StandardScaler(), COUNTS), numbers], logistic(), everything, table="unseen")
    add("columns_integers_as_they_are", "integers and floats as they are → RandomForestClassifier",
        [("counts", "passthrough", COUNTS), ("numbers", "passthrough", NUMBERS)], forest(), COUNTS + NUMBERS)
    add("columns_remainder", "remainder dropped → LogisticRegression",
        [("words", one_hot(), ["plan"]), ("numbers", MinMaxScaler(), ["spend"])], logistic(), ["plan", "spend"])
    add("columns_bins", "one-hot strings, binned numbers → LogisticRegression",
        [("words", one_hot(drop="if_binary"), WORDS), ("numbers", KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), NUMBERS)], logistic(), WORDS + NUMBERS, table="unseen")
    add("columns_one_hot_integers", "one-hot integers → LogisticRegression",
        [("counts", one_hot(), ["visits"]), numbers], logistic(), ["visits"] + NUMBERS)
    add("columns_network", "one-hot strings → MLPClassifier",
        [("words", one_hot(), WORDS), numbers], MLPClassifier((10,), max_iter=20, random_state=0), WORDS + NUMBERS, table="unseen")
    add("columns_rare", "one-hot of frequent strings → LogisticRegression",
        [("words", one_hot(min_frequency=0.22), WORDS), numbers], logistic(), WORDS + NUMBERS)
    for name, model in (("regression_ridge", Ridge()), ("regression_boosting", GradientBoostingRegressor(n_estimators=10, random_state=0))):
        add(f"columns_{name}", f"one-hot strings → {type(model).__name__}", [("words", one_hot(), WORDS), numbers], model, WORDS + NUMBERS, table="unseen", target=data.frame_score)
    sizes = {"n_estimators": 15, "n_jobs": 1}
    for name, model in (("xgboost", xgboost.XGBClassifier(max_depth=4, **sizes)), ("lightgbm", lightgbm.LGBMClassifier(num_leaves=8, verbose=-1, **sizes))):
        for encoder_name, encoder, table in (("one_hot", one_hot(), "unseen"), ("ordinal", unknown_is_minus_one(), "known"), ("target", TargetEncoder(random_state=0), "unseen")):
            add(f"columns_{encoder_name}_{name}", f"{encoder_name.replace('_', '-')} strings → {type(model).__name__}",
                [("words", encoder, WORDS), ("numbers", "passthrough", MISSING)], model, WORDS + MISSING, table=table, opset=BOOSTED_OPSET)
    label = np.array(["stays", "leaves"], dtype=object)[data.frame_y]
    add("columns_string_labels", "one-hot strings → LogisticRegression, string labels",
        [("words", one_hot(), WORDS), numbers], logistic(), WORDS + NUMBERS, table="unseen", target=label)


def matrices(cases):
    cases.section = "Matrices of several types"
    data = cases.data

    def add(name, what, parts, model, inputs, **more):
        """`inputs`: name of the input → tensor type and columns. Parts name columns by position."""
        used = [column for _, columns in inputs.values() for column in columns]
        positions = [(part, step, [used.index(column) for column in columns]) for part, step, columns in parts]
        pipeline = Pipeline([("columns", ColumnTransformer(positions, sparse_threshold=0)), ("model", model)])

        def make():
            fitted = pipeline.fit(data.frame[used].to_numpy(dtype=object), data.frame_y)
            types = [(name, kind([None, len(columns)])) for name, (kind, columns) in inputs.items()]
            return Export(to_onnx(fitted, initial_types=types), "known", {name: columns for name, (_, columns) in inputs.items()})

        cases.add(name, what, make, estimators=estimators_of(pipeline), **more)

    words, numbers = ("words", one_hot(), WORDS), ("numbers", StandardScaler(), NUMBERS)
    add("matrices_of_strings_and_floats", "a matrix of strings and a matrix of floats → LogisticRegression",
        [words, numbers], logistic(), {"words": (StringTensorType, WORDS), "numbers": (FloatTensorType, NUMBERS)})
    add("matrices_of_three_types", "matrices of strings, integers and floats → RandomForestClassifier",
        [words, ("counts", StandardScaler(), COUNTS), numbers], forest(),
        {"words": (StringTensorType, WORDS), "counts": (Int64TensorType, COUNTS), "numbers": (FloatTensorType, NUMBERS)})
    add("matrix_beside_columns", "a matrix of floats beside single columns → LogisticRegression",
        [words, numbers], logistic(),
        {"region": (StringTensorType, ["region"]), "plan": (StringTensorType, ["plan"]), "device": (StringTensorType, ["device"]), "numbers": (FloatTensorType, NUMBERS)})


def single(cases):
    cases.section = "Encoders of strings"
    data = cases.data

    def add(name, what, encoder, used, table="known", supervised=False, vector=False, **more):
        def make():
            x = data.frame[used].to_numpy(dtype=object)
            x = x[:, 0] if vector else x
            fitted = encoder.fit(x, data.frame_y) if supervised else encoder.fit(x)
            shape = [None] if vector else [None, len(used)]
            return Export(to_onnx(fitted, initial_types=[("words", StringTensorType(shape))]), table, {"words": used})

        cases.add(name, what, make, estimators=estimators_of(encoder), **more)

    add("one_hot_encoder_strings", "OneHotEncoder: strings", one_hot(sparse_output=False), WORDS, table="unseen")
    add("one_hot_encoder_strings_dropped", "OneHotEncoder: strings, first dropped", OneHotEncoder(drop="first", sparse_output=False), WORDS)
    add("ordinal_encoder_strings", "OrdinalEncoder: strings", OrdinalEncoder(), WORDS)
    add("ordinal_encoder_unknown_strings", "OrdinalEncoder: unknown strings are -1", unknown_is_minus_one(), WORDS, table="unseen")
    add("target_encoder_strings", "TargetEncoder: strings", TargetEncoder(random_state=0), WORDS, table="unseen", supervised=True)
    add("label_encoder_strings", "LabelEncoder: strings", LabelEncoder(), ["region"], vector=True)
    add("label_binarizer_strings", "LabelBinarizer: strings", LabelBinarizer(), ["region"], vector=True)

    def integers():
        fitted = LabelBinarizer().fit(data.frame.visits.to_numpy())
        return Export(to_onnx(fitted, initial_types=[("visits", Int64TensorType([None, 1]))]), "known", {"visits": ["visits"]})

    cases.add("label_binarizer_integers", "LabelBinarizer: integers", integers, estimators=frozenset({"LabelBinarizer"}))


def text(cases):
    cases.section = "Text"
    data = cases.data
    for vectorizer in (CountVectorizer(), TfidfVectorizer(), CountVectorizer(analyzer="char", ngram_range=(1, 2))):
        def make(vectorizer=vectorizer):
            fitted = make_pipeline(vectorizer, logistic()).fit(data.frame.region, data.frame_y)
            return Export(to_onnx(fitted, initial_types=[("region", StringTensorType([None, 1]))]), "known", {"region": ["region"]})

        analyzer = "" if vectorizer.analyzer == "word" else f"_{vectorizer.analyzer}"
        name = f"{type(vectorizer).__name__.lower()}{analyzer}"
        cases.add(name, f"{type(vectorizer).__name__} → LogisticRegression{', characters' if analyzer else ''}", make, estimators=estimators_of(vectorizer), refused="Tokenizer")
