"""XGBoost, LightGBM and CatBoost."""

import os
import pathlib
import tempfile

import catboost
import lightgbm
import numpy as np
import onnx
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import DoubleTensorType, FloatTensorType
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm as lightgbm_converter
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as xgboost_converter
from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from cases import Export

# The newest versions of the operator sets that both converters write.
OPSET = 15
CATEGORIES = 12


def register(cases):
    with_xgboost(cases)
    with_lightgbm(cases)
    with_catboost(cases)


def register_converters():
    """Lets skl2onnx convert the two libraries' estimators inside pipelines."""
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for kind, converter in ((xgboost.XGBClassifier, xgboost_converter), (lightgbm.LGBMClassifier, lightgbm_converter)):
        update_registered_converter(kind, kind.__name__, calculate_linear_classifier_output_shapes, converter, options=options)
    for kind, converter in ((xgboost.XGBRegressor, xgboost_converter), (lightgbm.LGBMRegressor, lightgbm_converter)):
        update_registered_converter(kind, kind.__name__, calculate_linear_regressor_output_shapes, converter)


class Boosting:
    """Adds cases of one library."""

    def __init__(self, cases, convert):
        self.cases, self.data, self.convert = cases, cases.data, convert

    def add(self, name, estimator, target, table="missing", y=None, double=False, fit=None, convert=None, **more):
        data = self.data

        def make():
            x = data.training(table)
            labels = getattr(data, f"{target}_y") if y is None else y
            trained = estimator.fit(x, labels, **(fit or {}))
            kind = DoubleTensorType if double else FloatTensorType
            model = self.convert(trained, initial_types=[("X", kind([None, data.width]))], **({"target_opset": OPSET} | (convert or {})))
            return Export(model, table, {"X": list(data.tables[table])})

        what = f"{type(estimator).__name__}: {name.split('_', 1)[1].replace('_', ' ')}"
        self.cases.add(name, what, make, estimators=frozenset({type(estimator).__name__}), **more)


def with_xgboost(cases):
    cases.section = "XGBoost"
    draw, data = cases.draw, cases.data
    boosting = Boosting(cases, convert_xgboost)
    add = boosting.add
    size = {"n_estimators": draw.size(20, 2, 60), "max_depth": draw.size(5, 1, 8), "n_jobs": 1}
    classifier, regressor = xgboost.XGBClassifier, xgboost.XGBRegressor
    add("xgboost_binary", classifier(**size), "binary")
    add("xgboost_three_classes", classifier(**size), "three")
    add("xgboost_base_score", classifier(base_score=0.5, **size), "binary")
    add("xgboost_base_score_of_three_classes", classifier(base_score=0.5, **size), "three")
    add("xgboost_unbalanced", classifier(scale_pos_weight=5, **size), "binary")
    add("xgboost_lossguide", classifier(**size | {"max_depth": 0, "max_leaves": 20, "grow_policy": "lossguide"}), "binary")
    add("xgboost_dart", classifier(booster="dart", rate_drop=0.2, **size), "binary", fails="KeyError: 'gbtree_model_param'")
    add("xgboost_hinge", classifier(objective="binary:hinge", **size), "binary")
    add("xgboost_softmax", classifier(objective="multi:softmax", **size), "three")
    add("xgboost_forest_classifier", xgboost.XGBRFClassifier(**size), "binary")
    add("xgboost_forest_regressor", xgboost.XGBRFRegressor(**size), "regression")
    add("xgboost_early_stopping", classifier(early_stopping_rounds=2, **size), "binary", fit={"eval_set": [(data.x_nan, data.binary_y)], "verbose": False})
    for name, objective, target in (
        ("squared_error", "reg:squarederror", "regression"), ("absolute_error", "reg:absoluteerror", "regression"),
        ("pseudo_huber", "reg:pseudohubererror", "regression"), ("logistic_regression", "reg:logistic", "binary"),
        ("poisson", "count:poisson", "count"), ("gamma", "reg:gamma", "positive"), ("tweedie", "reg:tweedie", "count"),
    ):
        add(f"xgboost_{name}", regressor(objective=objective, **size), target)
    add("xgboost_quantile", regressor(objective="reg:quantileerror", quantile_alpha=0.9, **size), "regression")
    add("xgboost_base_zero", regressor(base_score=0.0, **size), "regression")
    add("xgboost_two_targets", regressor(**size), "regression2")
    add("xgboost_monotone", regressor(monotone_constraints=(1,) + (0,) * (data.width - 1), **size), "regression")
    add("xgboost_counts", classifier(**size), "binary", table="counts", convert={"target_opset": 15})
    add("xgboost_linear", regressor(booster="gblinear", n_estimators=10, n_jobs=1), "regression", table="dense", fails="KeyError: 'gbtree_model_param'")
    add("xgboost_ranker", xgboost.XGBRanker(objective="rank:pairwise", **size), "count", fit={"group": [200] * 6}, fails="No proper operator name found")
    types = ["c"] * 2 + ["q"] * (data.width - 2)
    add("xgboost_categories", classifier(enable_categorical=True, feature_types=types, **size), "binary", table="counts")
    for opset in (11, 13):
        add(f"xgboost_opset_{opset}", classifier(**size), "binary", convert={"target_opset": opset})
    booster(cases, size)


def booster(cases, size):
    data = cases.data

    def make():
        matrix = xgboost.DMatrix(data.x_nan, data.regression_y)
        trained = xgboost.train({"max_depth": 4, "nthread": 1}, matrix, num_boost_round=10)
        model = convert_xgboost(trained, initial_types=[("X", FloatTensorType([None, data.width]))], target_opset=OPSET)
        return Export(model, "missing", {"X": list(data.tables["missing"])})

    cases.add("xgboost_booster", "xgboost.train: booster without a scikit-learn wrapper", make)


def with_lightgbm(cases):
    cases.section = "LightGBM"
    draw, data = cases.draw, cases.data
    boosting = Boosting(cases, convert_lightgbm)
    add = boosting.add
    size = {"n_estimators": draw.size(20, 2, 60), "num_leaves": draw.size(15, 4, 63), "n_jobs": 1, "verbose": -1, "deterministic": True}
    classifier, regressor = lightgbm.LGBMClassifier, lightgbm.LGBMRegressor
    add("lightgbm_binary", classifier(**size), "binary")
    add("lightgbm_binary_zipmap_off", classifier(**size), "binary", convert={"zipmap": False})
    add("lightgbm_three_classes", classifier(**size), "three")
    add("lightgbm_three_classes_zipmap_off", classifier(**size), "three", convert={"zipmap": False})
    add("lightgbm_one_against_all", classifier(objective="multiclassova", **size), "three")
    add("lightgbm_words", classifier(**size), "words")
    add("lightgbm_forest", classifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, **size), "binary")
    add("lightgbm_forest_regressor", regressor(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, **size), "regression")
    add("lightgbm_dart", classifier(boosting_type="dart", **size), "binary")
    add("lightgbm_goss", classifier(data_sample_strategy="goss", **size), "binary")
    add("lightgbm_unbalanced", classifier(is_unbalance=True, **size), "binary")
    add("lightgbm_zeros_missing", classifier(zero_as_missing=True, **size), "binary", table="counts")
    add("lightgbm_no_missing", classifier(use_missing=False, **size), "binary", table="missing")
    for name, target in (
        ("regression", "regression"), ("regression_l1", "regression"), ("huber", "regression"),
        ("quantile", "regression"), ("poisson", "count"), ("gamma", "positive"), ("tweedie", "count"),
    ):
        add(f"lightgbm_{name}", regressor(objective=name, **size), target)
    for name, target in (("fair", "regression"), ("mape", "positive"), ("cross_entropy", "binary")):
        add(f"lightgbm_{name}", regressor(objective=name, **size), target, fails="objective should be cleaned already")
    add("lightgbm_ranker", lightgbm.LGBMRanker(**size), "three", fit={"group": [200] * 6})
    add("lightgbm_double", regressor(**size), "regression", table="double_missing", double=True)
    add("lightgbm_split", regressor(**size), "regression", convert={"split": 5})
    categorical = np.arange(2).tolist()
    add("lightgbm_categories", classifier(min_data_per_group=5, cat_smooth=1, **size), "binary", table="counts", fit={"categorical_feature": categorical})
    add("lightgbm_categories_one_against_all", classifier(max_cat_to_onehot=20, **size), "three", table="counts", fit={"categorical_feature": categorical})
    for opset in (11, 13):
        add(f"lightgbm_opset_{opset}", classifier(**size), "binary", convert={"target_opset": opset})


def with_catboost(cases):
    cases.section = "CatBoost"
    size = {
        "iterations": cases.draw.size(20, 2, 60), "depth": cases.draw.size(5, 1, 8), "thread_count": 1,
        "allow_writing_files": False, "random_seed": 0, "verbose": False,
    }
    classifier, regressor = catboost.CatBoostClassifier, catboost.CatBoostRegressor
    boosting = Boosting(cases, converted_catboost)
    add = boosting.add
    add("catboost_binary", classifier(**size), "binary")
    add("catboost_three_classes", classifier(**size), "three")
    add("catboost_words", classifier(**size), "words")
    add("catboost_yes_no", classifier(**size), "yes_no")
    add("catboost_multilabel", classifier(loss_function="MultiLogloss", **size), "multilabel")
    add("catboost_weights", classifier(auto_class_weights="Balanced", **size), "binary")
    add("catboost_missing_as_largest", classifier(nan_mode="Max", **size), "binary")
    add("catboost_depthwise", classifier(grow_policy="Depthwise", **size), "binary", fails="Can save non symmetric trees only")
    add("catboost_lossguide", regressor(grow_policy="Lossguide", max_leaves=12, **size), "regression", fails="Can save non symmetric trees only")
    for loss, target in (("RMSE", "regression"), ("MAE", "regression"), ("Quantile:alpha=0.8", "regression"), ("Poisson", "count"), ("Tweedie:variance_power=1.5", "count")):
        add(f"catboost_{loss.split(':')[0].lower()}", regressor(loss_function=loss, **size), target)
    add("catboost_two_targets", regressor(loss_function="MultiRMSE", **size), "regression2", fails="Exception during initialization")
    add("catboost_uncertainty", regressor(loss_function="RMSEWithUncertainty", **size), "regression", fails="Exception during initialization")
    add("catboost_ranker", catboost.CatBoostRanker(loss_function="YetiRank", **size), "three", fit={"group_id": np.repeat(np.arange(6), 200)})
    add("catboost_categories", classifier(cat_features=[0, 1], **size), "binary", table="counts", fails="does yet not support categorical features")


def converted_catboost(trained, initial_types, target_opset):
    """CatBoost writes its own files; they name their input `features`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.onnx")
        trained.save_model(os.fspath(path), format="onnx")
        model = onnx.load(path)
    model.graph.input[0].name = "X"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == "features":
                node.input[index] = "X"
    return model
