"""Scalers, encoders, imputers and selections on their own."""

import numpy as np
from sklearn import feature_selection, impute, preprocessing
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from skl2onnx.sklapi import CastTransformer, ReplaceTransformer


def register(cases):
    scalers(cases)
    imputers(cases)
    selections(cases)
    encoders(cases)


def scalers(cases):
    cases.section = "Scaling and shaping"
    add = cases.estimator
    for estimator in (preprocessing.StandardScaler(), preprocessing.MinMaxScaler(), preprocessing.MaxAbsScaler(), preprocessing.RobustScaler()):
        add(estimator)
        add(type(estimator)(), table="double")
    add(preprocessing.StandardScaler(with_mean=False), table="missing", note="without mean")
    add(preprocessing.StandardScaler(), note="division in double", options={"div": "div_cast"})
    add(preprocessing.StandardScaler(), table="counts")
    add(preprocessing.MinMaxScaler((-1, 1), clip=True), note="clipped")
    for norm in ("l1", "l2", "max"):
        add(preprocessing.Normalizer(norm), note=norm)
    add(preprocessing.Binarizer(threshold=0.3))
    for degree, only in ((2, False), (3, False), (2, True)):
        add(preprocessing.PolynomialFeatures(degree, interaction_only=only), note=f"degree {degree}{', interactions only' if only else ''}")
    add(preprocessing.PolynomialFeatures(2, include_bias=False), table="counts")
    add(preprocessing.PowerTransformer())
    add(preprocessing.PowerTransformer("box-cox"), table="positive", note="Box-Cox")
    add(preprocessing.QuantileTransformer(n_quantiles=40, random_state=0))
    for encode in ("onehot-dense", "ordinal"):
        add(preprocessing.KBinsDiscretizer(5, encode=encode, quantile_method="averaged_inverted_cdf"), note=encode)
    add(preprocessing.KBinsDiscretizer(4, encode="ordinal", strategy="uniform"), note="uniform")
    add(preprocessing.FunctionTransformer())
    add(preprocessing.KernelCenterer(), rows=cases.data.width)
    add(CastTransformer(dtype=np.float64))
    add(ReplaceTransformer(from_value=0, to_value=7), table="counts")
    add(FeatureUnion([("scaled", preprocessing.StandardScaler()), ("bounded", preprocessing.MinMaxScaler())]))


def imputers(cases):
    cases.section = "Missing values"
    add = cases.estimator
    for strategy in ("mean", "median", "most_frequent", "constant"):
        add(impute.SimpleImputer(strategy=strategy), table="missing", note=strategy)
    add(impute.SimpleImputer(strategy="mean"), table="double_missing", fails="Could not find an implementation for Imputer")
    add(impute.SimpleImputer(add_indicator=True), table="missing", note="with indicator")
    add(impute.KNNImputer(n_neighbors=3), table="missing", rows=150, refused="defines its own function")


def selections(cases):
    cases.section = "Selection of features"
    add = cases.estimator
    half = cases.data.width // 2
    for estimator in (
        feature_selection.SelectKBest(k=half), feature_selection.SelectPercentile(percentile=50), feature_selection.SelectFdr(alpha=0.5),
        feature_selection.SelectFpr(alpha=0.5), feature_selection.SelectFwe(alpha=0.5), feature_selection.GenericUnivariateSelect(mode="k_best", param=half),
        feature_selection.SelectFromModel(LogisticRegression(max_iter=300), threshold="median"),
        feature_selection.RFE(LogisticRegression(max_iter=300), n_features_to_select=half),
        feature_selection.RFECV(LogisticRegression(max_iter=300), cv=2, step=3),
    ):
        add(estimator, "binary")
    add(feature_selection.VarianceThreshold(0.1))
    add(feature_selection.SelectKBest(feature_selection.chi2, k=half), "binary", table="counts")


def encoders(cases):
    cases.section = "Encoders of numbers"
    add = cases.estimator
    add(preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False), table="counts")
    add(preprocessing.OneHotEncoder(handle_unknown="ignore"), table="counts", note="sparse")
    add(preprocessing.OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False), table="counts", note="first dropped")
    add(preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), table="counts")
    add(preprocessing.TargetEncoder(random_state=0), "binary", table="counts")
