"""Neighbours, Gaussian processes, mixtures, clusters, outliers, decompositions, networks of scikit-learn."""

import numpy as np
from sklearn import cluster, decomposition, gaussian_process, mixture, neighbors, neural_network, random_projection
from sklearn.gaussian_process import kernels


def register(cases):
    neighbours(cases)
    processes(cases)
    groups(cases)
    projections(cases)
    perceptrons(cases)


def neighbours(cases):
    cases.section = "Neighbours"
    add = cases.estimator
    few = {"rows": 200}
    count = cases.draw.size(5, 2, 9)
    add(neighbors.KNeighborsClassifier(count), "binary", **few)
    add(neighbors.KNeighborsClassifier(count, weights="distance"), "words", note="by distance", **few)
    add(neighbors.KNeighborsClassifier(3, metric="manhattan"), "three", note="Manhattan", **few)
    add(neighbors.KNeighborsClassifier(count), "multiclass2", note="two labels", options={"zipmap": False}, fails="Can't merge shape info", **few)
    add(neighbors.KNeighborsRegressor(count), "regression", **few)
    add(neighbors.KNeighborsRegressor(count, weights="distance"), "regression", note="by distance", **few)
    add(neighbors.KNeighborsRegressor(count), "regression2", note="two targets", **few)
    add(neighbors.KNeighborsRegressor(count), "regression", table="double", **few)
    add(neighbors.KNeighborsRegressor(count, metric="cosine"), "regression", note="cosine", **few)
    add(neighbors.RadiusNeighborsClassifier(20.0, outlier_label="most_frequent"), "binary", **few)
    add(neighbors.RadiusNeighborsRegressor(20.0), "regression", **few)
    add(neighbors.NearestNeighbors(n_neighbors=3, radius=None), **few)
    add(neighbors.KNeighborsTransformer(n_neighbors=3), **few)
    add(neighbors.NeighborhoodComponentsAnalysis(3, max_iter=5, random_state=0), "binary", **few)
    add(neighbors.LocalOutlierFactor(n_neighbors=5, novelty=True), **few)
    add(neighbors.LocalOutlierFactor(n_neighbors=5, novelty=True), note="score samples", options={"score_samples": True}, **few)


def processes(cases):
    cases.section = "Gaussian processes"
    add = cases.estimator
    few = {"rows": 60}
    regressor = gaussian_process.GaussianProcessRegressor
    add(regressor(kernels.RBF(2.0), alpha=0.5, optimizer=None), "regression", **few)
    add(regressor(kernels.RBF(2.0), alpha=0.5, optimizer=None), "regression", table="double", **few)
    add(regressor(kernels.ConstantKernel(2.0) * kernels.Matern(2.0, nu=1.5), alpha=0.5, optimizer=None), "regression", table="double", note="Matern", **few)
    add(regressor(kernels.RationalQuadratic(2.0, 1.0), alpha=0.5, optimizer=None), "regression", table="double", note="rational quadratic", **few)
    add(regressor(kernels.DotProduct() + kernels.WhiteKernel(0.5), alpha=0.5, optimizer=None), "regression", table="double", note="dot product", **few)
    add(regressor(kernels.ExpSineSquared(2.0, 30.0), alpha=2.0, optimizer=None), "regression", table="double", note="periodic", **few)
    add(regressor(kernels.RBF(2.0), alpha=0.5, optimizer=None), "regression", table="double", note="with deviation", options={"return_std": True}, **few)
    add(regressor(kernels.RBF(2.0), alpha=0.5, optimizer=None), "regression2", table="double", note="two targets", **few)
    add(gaussian_process.GaussianProcessClassifier(kernels.RBF(2.0), optimizer=None), "binary", fails="com.microsoft:Solve", **few)


def groups(cases):
    cases.section = "Clusters and mixtures"
    add = cases.estimator
    count = cases.draw.size(4, 2, 8)
    add(cluster.KMeans(count, n_init=2, random_state=0))
    add(cluster.KMeans(count, n_init=2, random_state=0), table="double")
    add(cluster.KMeans(count, n_init=2, random_state=0), note="without Gemm", options={"gemm": False})
    add(cluster.MiniBatchKMeans(count, n_init=2, random_state=0))
    for covariance in ("full", "tied", "diag", "spherical"):
        add(mixture.GaussianMixture(count, covariance_type=covariance, reg_covar=1e-2, random_state=0), note=covariance)
    add(mixture.GaussianMixture(count, covariance_type="diag", random_state=0), note="score samples", options={"score_samples": True})
    add(mixture.BayesianGaussianMixture(n_components=count, max_iter=300, random_state=0))


def projections(cases):
    cases.section = "Decompositions"
    add = cases.estimator
    add(decomposition.PCA(4, random_state=0))
    add(decomposition.PCA(4, whiten=True, random_state=0), note="whitened", table="double")
    add(decomposition.IncrementalPCA(4))
    add(decomposition.TruncatedSVD(4, random_state=0))
    for kernel in ("linear", "poly", "rbf", "sigmoid", "cosine"):
        add(decomposition.KernelPCA(3, kernel=kernel, gamma=0.05, random_state=0), note=f"{kernel} kernel", rows=150)
    add(random_projection.GaussianRandomProjection(3, random_state=0))


def perceptrons(cases):
    cases.section = "Networks of scikit-learn"
    add = cases.estimator
    hidden = (cases.draw.size(16, 4, 48), cases.draw.size(8, 2, 24))
    classifier, regressor = neural_network.MLPClassifier, neural_network.MLPRegressor
    for target in ("binary", "words", "multilabel"):
        add(classifier(hidden, max_iter=40, random_state=0), target)
    for activation in ("tanh", "logistic", "identity"):
        add(classifier(hidden, activation=activation, max_iter=40, random_state=0), "three", note=activation)
    add(regressor(hidden_layer_sizes=hidden, max_iter=60, random_state=0), "regression")
    add(regressor(hidden_layer_sizes=hidden, max_iter=60, random_state=0), "regression2", note="two targets", fails="has shape (2, 1) for 1 rows")
    add(regressor(hidden_layer_sizes=hidden, max_iter=60, random_state=0), "regression", table="double")
