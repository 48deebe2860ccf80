"""Trees and the ensembles of scikit-learn."""

import numpy as np
from sklearn import ensemble, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.svm import SVC, LinearSVC


def register(cases):
    single(cases)
    forests(cases)
    boosting(cases)
    combined(cases)


def single(cases):
    cases.section = "Trees"
    add, depth = cases.estimator, cases.draw.size(6, 2, 14)
    for kind in (tree.DecisionTreeClassifier, tree.ExtraTreeClassifier):
        add(kind(max_depth=depth, random_state=0), "binary")
        add(kind(max_depth=depth, random_state=0), "words")
    add(tree.DecisionTreeClassifier(random_state=0), "three", note="full depth")
    add(tree.DecisionTreeClassifier(max_depth=depth, random_state=0), "binary", table="missing")
    add(tree.DecisionTreeClassifier(max_depth=3, random_state=0), "three", note="decision path", options={"decision_path": True, "zipmap": False})
    add(tree.DecisionTreeClassifier(max_depth=3, random_state=0), "three", note="decision leaf", options={"decision_leaf": True, "zipmap": False})
    add(tree.DecisionTreeClassifier(max_depth=depth, random_state=0), "multilabel", options={"zipmap": False}, refused="expected one row per customer")
    for kind in (tree.DecisionTreeRegressor, tree.ExtraTreeRegressor):
        add(kind(max_depth=depth, random_state=0), "regression")
        add(kind(max_depth=depth, random_state=0), "regression2", note="two targets")
    add(tree.DecisionTreeRegressor(random_state=0), "regression", note="full depth")


def forests(cases):
    cases.section = "Forests"
    add = cases.estimator
    more = {"n_estimators": cases.draw.size(20, 3, 40), "max_depth": cases.draw.size(8, 3, 14), "random_state": 0}
    for kind in (ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier):
        for target in ("binary", "three", "yes_no"):
            add(kind(**more), target)
    forest = ensemble.RandomForestClassifier
    add(forest(**more), "words", note="zipmap off", options={"zipmap": False})
    add(forest(**more), "binary", note="zipmap columns", options={"zipmap": "columns"})
    add(forest(**more), "odd", note="labels 10, -3 and 200")
    add(forest(**more), "binary", table="missing")
    add(forest(**more), "binary", table="double")
    add(forest(**more), "binary", table="counts")
    add(forest(**more), "binary", table="flags")
    add(forest(**more), "multilabel", options={"zipmap": False}, refused="expected one row per customer")
    add(forest(**more), "multiclass2", note="two labels", options={"zipmap": False}, refused="expected one row per customer")
    add(forest(n_estimators=3, random_state=0), "three", note="full depth")
    add(forest(n_estimators=1, random_state=0), "binary", note="one tree")
    for ml in (1, 2, 3):
        add(forest(**more), "binary", note=f"ai.onnx.ml {ml}", opset={"": 15, "ai.onnx.ml": ml})
        add(ensemble.RandomForestRegressor(**more), "regression", note=f"ai.onnx.ml {ml}", opset={"": 15, "ai.onnx.ml": ml})
    add(ensemble.RandomForestRegressor(**more), "regression", table="double", fails="Type (tensor(double)) of output arg (variable)")
    for kind in (ensemble.RandomForestRegressor, ensemble.ExtraTreesRegressor):
        add(kind(**more), "regression")
        add(kind(**more), "regression2", note="two targets")
    add(ensemble.RandomForestRegressor(**more), "regression", table="missing")
    add(ensemble.RandomForestRegressor(n_estimators=2, max_depth=3, random_state=0), "regression", note="decision leaf", options={"decision_leaf": True})
    add(ensemble.RandomTreesEmbedding(n_estimators=5, max_depth=3, sparse_output=False, random_state=0))
    add(ensemble.IsolationForest(n_estimators=20, random_state=0), opset={"": 15, "ai.onnx.ml": 3})
    add(ensemble.IsolationForest(n_estimators=20, random_state=0, contamination=0.1), note="score samples", options={"score_samples": True}, opset={"": 15, "ai.onnx.ml": 3})


def boosting(cases):
    cases.section = "Boosting of scikit-learn"
    add, rounds = cases.estimator, cases.draw.size(20, 2, 40)
    gradient = ensemble.GradientBoostingClassifier
    for target in ("binary", "three", "words"):
        add(gradient(n_estimators=rounds, random_state=0), target)
    add(gradient(n_estimators=rounds, random_state=0, loss="exponential"), "binary", note="exponential loss")
    add(gradient(n_estimators=rounds, random_state=0), "three", note="raw scores", options={"raw_scores": True, "zipmap": False})
    add(ensemble.GradientBoostingRegressor(n_estimators=rounds, random_state=0), "regression")
    add(ensemble.GradientBoostingRegressor(n_estimators=rounds, random_state=0, loss="huber"), "regression", note="Huber loss")
    add(ensemble.GradientBoostingRegressor(n_estimators=rounds, random_state=0, loss="quantile", alpha=0.9), "regression", note="quantile loss")
    add(ensemble.GradientBoostingRegressor(n_estimators=rounds, random_state=0, init="zero"), "regression", note="from zero")
    histogram = ensemble.HistGradientBoostingClassifier
    for target in ("binary", "three", "words"):
        add(histogram(max_iter=rounds), target, table="missing")
    add(histogram(max_iter=rounds), "binary", note="zipmap off", options={"zipmap": False})
    add(ensemble.HistGradientBoostingRegressor(max_iter=rounds), "regression", table="missing")
    add(ensemble.HistGradientBoostingRegressor(max_iter=rounds, loss="poisson"), "count", note="Poisson loss")
    add(ensemble.AdaBoostClassifier(n_estimators=10, random_state=0), "binary")
    add(ensemble.AdaBoostClassifier(n_estimators=10, random_state=0), "words")
    add(ensemble.AdaBoostRegressor(n_estimators=10, random_state=0), "regression")


def combined(cases):
    cases.section = "Estimators of estimators"
    add = cases.estimator
    logistic = LogisticRegression(max_iter=500)
    forest = ensemble.RandomForestClassifier(5, max_depth=4, random_state=0)
    regressor = ensemble.RandomForestRegressor(5, max_depth=4, random_state=0)
    pair = [("linear", logistic), ("forest", forest)]
    add(ensemble.BaggingClassifier(n_estimators=5, random_state=0), "binary")
    add(ensemble.BaggingClassifier(logistic, n_estimators=5, max_features=0.6, random_state=0), "words", note="logistic regressions")
    add(ensemble.BaggingClassifier(LinearSVC(), n_estimators=5, random_state=0), "three", note="votes of linear SVMs", fails="has shape (5,) for 1 rows")
    add(ensemble.BaggingRegressor(n_estimators=5, random_state=0), "regression")
    add(ensemble.BaggingRegressor(Ridge(), n_estimators=5, max_features=0.6, random_state=0), "regression", note="ridge regressions")
    add(ensemble.VotingClassifier(pair, voting="soft", flatten_transform=False), "binary", note="soft")
    add(ensemble.VotingClassifier(pair, voting="hard", flatten_transform=False), "binary", note="hard")
    add(ensemble.VotingClassifier(pair, voting="soft", weights=np.array([1, 3]), flatten_transform=False), "words", note="weighted")
    add(ensemble.VotingRegressor([("linear", LinearRegression()), ("forest", regressor)]), "regression")
    add(ensemble.StackingClassifier(pair, final_estimator=LogisticRegression(), cv=3), "binary")
    add(ensemble.StackingClassifier(pair, final_estimator=LogisticRegression(), cv=3, passthrough=True), "words", note="passthrough")
    add(ensemble.StackingRegressor([("linear", LinearRegression()), ("forest", regressor)], final_estimator=Ridge(), cv=3), "regression")
    for method in ("sigmoid", "isotonic"):
        add(CalibratedClassifierCV(forest, method=method, cv=2), "binary", note=method)
        add(CalibratedClassifierCV(forest, method=method, cv=2), "words", note=method)
    add(CalibratedClassifierCV(LinearSVC(), cv=2), "three", note="of a linear SVM")
    add(CalibratedClassifierCV(logistic, cv=2, method="temperature"), "three", note="temperature", fails="_TemperatureScaling")
    add(OneVsRestClassifier(logistic), "three")
    add(OneVsRestClassifier(forest), "words", note="forests")
    add(OneVsRestClassifier(logistic), "multilabel")
    add(OneVsOneClassifier(logistic), "three")
    add(OneVsOneClassifier(LinearSVC()), "words", note="linear SVMs", fails="does not match expected type (tensor(int64))")
    add(MultiOutputClassifier(logistic), "multilabel")
    add(MultiOutputClassifier(forest), "multiclass2", note="forests")
    add(MultiOutputRegressor(Ridge()), "regression2")
    add(MultiOutputRegressor(ensemble.GradientBoostingRegressor(n_estimators=5)), "regression2", note="boosted trees")
    add(GridSearchCV(logistic, {"C": [0.1, 1.0]}, cv=2), "binary")
    add(GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2), "regression", note="ridge")
    add(TunedThresholdClassifierCV(logistic, cv=2), "binary")
    add(ensemble.StackingClassifier([("svm", SVC(probability=True, random_state=0)), ("linear", logistic)], cv=2), "binary", note="with an SVM", rows=400)
