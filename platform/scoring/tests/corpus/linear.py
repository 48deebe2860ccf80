"""Linear models, support vector machines, naive Bayes and discriminant analysis."""

from sklearn import discriminant_analysis, linear_model, naive_bayes, svm
from sklearn.cross_decomposition import PLSRegression


def register(cases):
    classifiers(cases)
    regressors(cases)
    vector_machines(cases)
    bayes(cases)


def classifiers(cases):
    cases.section = "Linear classifiers"
    add = cases.estimator
    logistic = lambda **more: linear_model.LogisticRegression(max_iter=500, **more)
    add(logistic(), "binary")
    add(logistic(), "binary", note="zipmap off", options={"zipmap": False})
    add(logistic(), "three", note="zipmap columns", options={"zipmap": "columns"})
    add(logistic(), "three")
    add(logistic(), "three", note="raw scores", options={"raw_scores": True, "zipmap": False})
    add(logistic(), "binary", note="raw scores", options={"raw_scores": True, "zipmap": False})
    add(logistic(), "words")
    add(logistic(), "yes_no", note="zipmap columns", options={"zipmap": "columns"})
    add(logistic(), "odd", note="labels 10, -3 and 200")
    add(logistic(), "words", note="no class labels", options={"nocl": True, "zipmap": False})
    add(logistic(), "yes_no", note="class labels as an output", options={"output_class_labels": True, "zipmap": False}, refused="expected one row per customer")
    add(logistic(), "binary", table="double", options={"zipmap": False})
    add(logistic(), "three", table="counts")
    add(logistic(), "binary", table="flags")
    for opset in (11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22):
        add(logistic(), "words", opset=opset, note=f"opset {opset}")
    add(linear_model.LogisticRegressionCV(Cs=3, cv=3, max_iter=300, l1_ratios=(0.0,), use_legacy_attributes=False), "three")
    add(linear_model.SGDClassifier(loss="log_loss", random_state=0), "binary")
    add(linear_model.SGDClassifier(loss="modified_huber", random_state=0), "three", note="modified Huber")
    add(linear_model.SGDClassifier(random_state=0), "three", note="hinge")
    add(linear_model.Perceptron(random_state=0), "three")
    add(linear_model.PassiveAggressiveClassifier(random_state=0), "binary")
    add(linear_model.RidgeClassifier(), "three")
    add(linear_model.RidgeClassifierCV(), "binary")
    add(svm.LinearSVC(), "binary")
    add(svm.LinearSVC(), "words")
    add(discriminant_analysis.LinearDiscriminantAnalysis(), "binary")
    add(discriminant_analysis.LinearDiscriminantAnalysis(), "words")
    add(discriminant_analysis.QuadraticDiscriminantAnalysis(), "three")


def regressors(cases):
    cases.section = "Linear regressors"
    add = cases.estimator
    for estimator in (
        linear_model.LinearRegression(), linear_model.Ridge(), linear_model.RidgeCV(), linear_model.Lasso(0.1),
        linear_model.LassoCV(cv=3), linear_model.ElasticNet(0.1), linear_model.ElasticNetCV(cv=3),
        linear_model.Lars(), linear_model.LarsCV(cv=3), linear_model.LassoLars(0.01), linear_model.LassoLarsCV(cv=3),
        linear_model.LassoLarsIC(), linear_model.OrthogonalMatchingPursuit(), linear_model.OrthogonalMatchingPursuitCV(cv=3),
        linear_model.ARDRegression(), linear_model.BayesianRidge(), linear_model.HuberRegressor(max_iter=500),
        linear_model.PassiveAggressiveRegressor(random_state=0), linear_model.SGDRegressor(random_state=0),
        linear_model.QuantileRegressor(quantile=0.8, alpha=0.01), linear_model.RANSACRegressor(random_state=0),
        linear_model.TheilSenRegressor(random_state=0, max_subpopulation=500), svm.LinearSVR(max_iter=5_000),
    ):
        add(estimator, "regression")
    add(linear_model.LinearRegression(), "regression2", note="two targets")
    add(linear_model.LinearRegression(), "regression", table="double")
    add(linear_model.Ridge(), "regression", table="counts")
    add(linear_model.LinearRegression(), "regression", note="opset 11", opset=11)
    add(linear_model.BayesianRidge(), "regression", note="with deviation", options={"return_std": True})
    for estimator in (
        linear_model.MultiTaskLasso(0.1), linear_model.MultiTaskLassoCV(cv=3),
        linear_model.MultiTaskElasticNet(0.1), linear_model.MultiTaskElasticNetCV(cv=3), PLSRegression(2),
    ):
        add(estimator, "regression2")
    add(PLSRegression(3), "regression")
    add(linear_model.PoissonRegressor(), "count")
    add(linear_model.GammaRegressor(), "positive")
    add(linear_model.TweedieRegressor(power=1.5, link="log"), "count")
    add(linear_model.TweedieRegressor(power=0, link="identity"), "regression", note="identity link")


def vector_machines(cases):
    cases.section = "Support vector machines"
    add = cases.estimator
    few = {"rows": 500}
    for kernel in ("linear", "poly", "rbf", "sigmoid"):
        add(svm.SVC(kernel=kernel), "binary", note=f"{kernel} kernel", **few)
        add(svm.SVR(kernel=kernel), "regression", note=f"{kernel} kernel", **few)
    add(svm.SVC(probability=True, random_state=0), "binary", note="with probabilities", **few)
    add(svm.SVC(probability=True, random_state=0), "words", note="with probabilities", **few)
    add(svm.SVC(), "three", note="raw scores", options={"raw_scores": True, "zipmap": False}, **few)
    add(svm.SVC(decision_function_shape="ovo", break_ties=False), "three", note="one against one", **few)
    add(svm.NuSVC(nu=0.3, probability=True, random_state=0), "three", **few)
    add(svm.SVC(), "binary", table="double", options={"zipmap": False}, **few)
    add(svm.NuSVR(), "regression", **few)
    add(svm.OneClassSVM(nu=0.1), **few)
    add(linear_model.SGDOneClassSVM(random_state=0))


def bayes(cases):
    cases.section = "Naive Bayes"
    add = cases.estimator
    add(naive_bayes.GaussianNB(), "binary")
    add(naive_bayes.GaussianNB(), "words")
    add(naive_bayes.BernoulliNB(), "binary")
    add(naive_bayes.BernoulliNB(binarize=None), "three", table="flags")
    add(naive_bayes.MultinomialNB(), "three", table="counts")
    add(naive_bayes.MultinomialNB(), "binary", table="positive")
    add(naive_bayes.ComplementNB(), "three", table="positive")
    add(naive_bayes.CategoricalNB(min_categories=12), "binary", table="counts")
