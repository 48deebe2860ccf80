"""Pipelines over one matrix: preparation, then a model."""

import lightgbm
import numpy as np
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import KBinsDiscretizer, MaxAbsScaler, MinMaxScaler, Normalizer, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, PowerTransformer, QuantileTransformer, RobustScaler, SplineTransformer, StandardScaler
from sklearn.svm import SVC
from skl2onnx.sklapi import CastRegressor, CastTransformer
from sklearn.tree import DecisionTreeRegressor

from boosted import register_converters

BOOSTED_OPSET = {"": 15, "ai.onnx.ml": 3}


def register(cases):
    register_converters()
    plain(cases)
    with_missing(cases)
    with_boosting(cases)


def plain(cases):
    cases.section = "Pipelines"
    add = cases.estimator
    logistic = lambda: LogisticRegression(max_iter=500)
    for scaler in (StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), Normalizer(), PowerTransformer(), QuantileTransformer(n_quantiles=30, random_state=0)):
        add(make_pipeline(scaler, logistic()), "binary")
    add(make_pipeline(StandardScaler(), logistic()), "words")
    add(make_pipeline(StandardScaler(), logistic()), "words", note="zipmap off", options={"zipmap": False})
    add(make_pipeline(StandardScaler(), logistic()), "three", table="counts")
    add(make_pipeline(StandardScaler(), logistic()), "three", table="double", options={"zipmap": False})
    add(make_pipeline(KBinsDiscretizer(5, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), logistic()), "binary")
    add(make_pipeline(PolynomialFeatures(2), StandardScaler(), logistic()), "binary")
    add(make_pipeline(SelectKBest(k=5), StandardScaler(), logistic()), "three")
    add(make_pipeline(PCA(4, random_state=0), logistic()), "binary")
    add(make_pipeline(StandardScaler(), PCA(4, whiten=True, random_state=0), RandomForestClassifier(8, max_depth=5, random_state=0)), "words")
    add(make_pipeline(make_union(PCA(3, random_state=0), SelectKBest(k=3)), logistic()), "binary")
    add(make_pipeline(StandardScaler(), MLPClassifier((12,), max_iter=30, random_state=0)), "three")
    add(make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)), "binary", rows=400)
    add(make_pipeline(MinMaxScaler(), GaussianNB()), "three")
    add(make_pipeline(StandardScaler(), CalibratedClassifierCV(RandomForestClassifier(5, max_depth=4, random_state=0), cv=2)), "binary")
    add(make_pipeline(StandardScaler(), OneVsRestClassifier(logistic())), "words")
    add(make_pipeline(StandardScaler(), VotingClassifier([("a", logistic()), ("b", GaussianNB())], voting="soft", flatten_transform=False)), "three")
    add(make_pipeline(StandardScaler(), Ridge()), "regression")
    add(make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=10, random_state=0)), "regression")
    add(make_pipeline(TfidfTransformer(), logistic()), "three", table="positive")
    add(make_pipeline(TruncatedSVD(3, random_state=0), Ridge()), "regression")
    add(make_pipeline(CastTransformer(dtype=np.float64), StandardScaler(), CastTransformer(), CastRegressor(DecisionTreeRegressor(max_depth=4, random_state=0))), "regression")
    add(make_pipeline(StandardScaler(), IsolationForest(n_estimators=10, random_state=0)), opset=BOOSTED_OPSET)
    add(make_pipeline(OneHotEncoder(handle_unknown="ignore", sparse_output=False), logistic()), "binary", table="counts")
    add(make_pipeline(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), RandomForestClassifier(8, max_depth=5, random_state=0)), "binary", table="counts")
    add(make_pipeline(StandardScaler(), logistic()), "binary", note="opset 11", opset=11)
    add(make_pipeline(SplineTransformer(), Ridge()), "regression", fails="Unable to find a shape calculator")


def with_missing(cases):
    cases.section = "Pipelines with missing values"
    add = cases.estimator
    logistic = lambda: LogisticRegression(max_iter=500)
    forest = lambda: RandomForestClassifier(10, max_depth=6, random_state=0)
    more = {"table": "missing"}
    add(make_pipeline(SimpleImputer(), StandardScaler(), logistic()), "binary", **more)
    add(make_pipeline(SimpleImputer(strategy="median"), logistic()), "words", **more)
    add(make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), forest()), "binary", **more)
    add(make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), forest()), "three", **more)
    add(make_pipeline(SimpleImputer(), PCA(4, random_state=0), MLPClassifier((8,), max_iter=30, random_state=0)), "binary", **more)
    add(make_pipeline(SimpleImputer(), PolynomialFeatures(2), StandardScaler(), LinearRegression()), "regression", **more)
    add(make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=10)), "binary", **more)
    add(StackingClassifier([("trees", HistGradientBoostingClassifier(max_iter=5)), ("line", make_pipeline(SimpleImputer(), logistic()))], cv=2), "binary", **more)


def with_boosting(cases):
    cases.section = "Pipelines with XGBoost and LightGBM"
    add = cases.estimator
    more = {"opset": BOOSTED_OPSET}
    forest = {"n_estimators": 15, "max_depth": 4, "n_jobs": 1}
    leaves = {"n_estimators": 15, "num_leaves": 12, "n_jobs": 1, "verbose": -1}
    add(make_pipeline(StandardScaler(), xgboost.XGBClassifier(**forest)), "binary", **more)
    add(make_pipeline(StandardScaler(), xgboost.XGBClassifier(**forest)), "three", note="zipmap off", options={"zipmap": False}, **more)
    add(make_pipeline(StandardScaler(), xgboost.XGBRegressor(**forest)), "regression", **more)
    add(make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**leaves)), "binary", **more)
    add(make_pipeline(SimpleImputer(), StandardScaler(), lightgbm.LGBMClassifier(**leaves)), "words", table="missing", **more)
    add(make_pipeline(PCA(4, random_state=0), lightgbm.LGBMRegressor(**leaves)), "regression", **more)
    add(make_pipeline(SelectKBest(k=5), xgboost.XGBClassifier(**forest)), "binary", **more)
    add(CalibratedClassifierCV(lightgbm.LGBMClassifier(**leaves), cv=2), "binary", **more)
    add(VotingClassifier([("x", xgboost.XGBClassifier(**forest)), ("l", lightgbm.LGBMClassifier(**leaves))], voting="soft", flatten_transform=False), "binary", **more)
