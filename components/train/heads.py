"""Linear classifiers of features, fitted by scikit-learn: the head of `frozen` training.

In: features, labels, and what may not be divided between folds. Out: weights and bias whose softmax gives probabilities. How strongly the
weights are held back is chosen by cross-validation, with all images of a group in the same fold.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from components.common.progress import say
from components.train.network import Floats

_NUM_FOLDS = 3
#: Inverse strengths of the penalty of logistic regression, and strengths of that of ridge; features are standardised first.
_INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
_PENALTIES = (1e1, 1e2, 1e3, 1e4)
#: What is taken where cross-validation cannot choose.
_DEFAULT_INVERSE_PENALTY, _DEFAULT_PENALTY = 1e-2, 1e3
#: Factor of ridge's scores that makes logits of them, where it cannot be fitted; the network's temperature is fitted afterwards.
_DEFAULT_SCALE = 5.0
#: Rows on which the penalty is chosen, at most; more would hardly change the choice, and cost three folds times four penalties.
_MOST_ROWS_FOR_CHOICE = 6000


@dataclass(frozen=True)
class Rows:
    """What a head is fitted to.

    Attributes:
        features: Shape (n, channels).
        labels: Class numbers, shape (n,).
        groups: One for each row; rows of a group share a fold.
        weights: How much each row counts, shape (n,).
    """

    features: Floats
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    weights: NDArray[np.float64]

    def take(self, chosen: NDArray[Any]) -> Rows:
        """Some of the rows, by positions or by a mask, shape (k,) or (n,)."""
        return Rows(self.features[chosen], self.labels[chosen], self.groups[chosen], self.weights[chosen])

    def sample(self, num_rows: int, seed: int) -> Rows:
        """About `num_rows` of the rows, see `sample_rows`."""
        return self if len(self.labels) <= num_rows else self.take(sample_rows(self.labels, num_rows, seed))


def sample_rows(labels: NDArray[np.int64], num_rows: int, seed: int) -> NDArray[np.int64]:
    """Positions of about `num_rows` rows drawn at random, ascending: of each class the same share, and three at least where it has them.

    Not of whole groups: a few large ones would be all that there is room for, and leave nothing to cross-validate by.

    Args:
        labels: Class numbers, shape (n,).
        num_rows: How many; all where there are no more.
        seed: Of the draw.
    """
    if len(labels) <= num_rows:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    counts = np.bincount(labels)
    wanted = np.maximum(counts * num_rows // len(labels), _NUM_FOLDS)
    by_class = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_class[rank < wanted[labels[by_class]]])


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Attributes:
        weights: Shape (channels, num_classes).
        bias: Shape (num_classes,).
        params: What was chosen.
        curve: Cross-validated loss of each penalty tried.
    """

    weights: Floats
    bias: Floats
    params: dict[str, Any]
    curve: list[float]


def fit_logistic(rows: Rows, seed: int, chosen: Mapping[str, Any] | None = None) -> Head:
    """Logistic regression, its penalty chosen by log-loss; or `chosen` before: the `params` of another head."""
    losses: list[float] = []
    if chosen is None:
        chosen, losses = _choose_logistic(rows.sample(_MOST_ROWS_FOR_CHOICE, seed), seed)
    estimator = _make_logistic(seed).set_params(logisticregression__C=chosen["inverse_penalty"])
    estimator.fit(rows.features, rows.labels, logisticregression__sample_weight=rows.weights)
    scaler, regression = estimator.named_steps.values()
    weights, bias = _unscale(scaler, regression.coef_, regression.intercept_)
    if len(weights) == 1:
        # Two classes have one score; half of it for and half against gives the same softmax as its sigmoid.
        weights, bias = np.vstack([-weights / 2, weights / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return Head(weights.T, bias, {"inverse_penalty": regression.C}, losses)


def _make_logistic(seed: int) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed))


def _choose_logistic(sample: Rows, seed: int) -> tuple[dict[str, Any], list[float]]:
    grid, folds = {"logisticregression__C": _INVERSE_PENALTIES}, _divide(sample)
    if not folds:
        return {"inverse_penalty": _DEFAULT_INVERSE_PENALTY}, []
    score = _scoring_all(np.unique(sample.labels))
    search = GridSearchCV(_make_logistic(seed), grid, scoring=score, cv=folds, refit=False, error_score="raise")
    search.fit(sample.features, sample.labels, logisticregression__sample_weight=sample.weights)
    losses = [-float(score) for score in search.cv_results_["mean_test_score"]]
    return {"inverse_penalty": search.best_params_["logisticregression__C"]}, losses


def _divide(sample: Rows) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Folds of whole groups to choose a penalty by; none, with a word, where the groups are too few for that."""
    groups, labels = sample.groups, sample.labels
    if len(np.unique(groups)) >= _NUM_FOLDS and np.bincount(labels).max() >= _NUM_FOLDS:
        for divider in (GroupKFold(_NUM_FOLDS), StratifiedGroupKFold(_NUM_FOLDS)):
            with warnings.catch_warnings():
                # Of classes that have fewer rows than there are folds.
                warnings.simplefilter("ignore", UserWarning)
                folds = list(divider.split(sample.features, labels, groups))
            if all(len(np.unique(labels[train])) > 1 for train, _ in folds):
                return folds
    say("the training images are of too few groups to choose the head's penalty by cross-validation, so it has the default")
    return []


def _scoring_all(classes: NDArray[np.int64]) -> Callable[[Pipeline, Floats, NDArray[np.int64]], float]:
    """The log-loss, negative, over all `classes`: those too that are so rare that a fold has none of them to learn from or to judge by."""

    def score(estimator: Pipeline, features: Floats, labels: NDArray[np.int64]) -> float:
        found = estimator.predict_proba(features)
        probabilities = np.zeros((len(labels), len(classes)), found.dtype)
        probabilities[:, np.searchsorted(classes, estimator.classes_)] = found
        return -float(log_loss(labels, probabilities, labels=classes))

    return score


def fit_ridge(rows: Rows, seed: int, chosen: Mapping[str, Any] | None = None) -> Head:
    """Least squares on one-hot labels, solved in closed form; a scale fitted to cross-validated scores makes them probabilities.

    Penalty and scale may be `chosen` before: the `params` of another head.
    """
    losses: list[float] = []
    if chosen is None:
        chosen, losses = _choose_ridge(rows.sample(_MOST_ROWS_FOR_CHOICE, seed))
    estimator = make_pipeline(StandardScaler(), Ridge(chosen["penalty"]))
    estimator.fit(rows.features, _one_hot(rows.labels), ridge__sample_weight=rows.weights)
    scaler, regression = estimator.named_steps.values()
    weights, bias = _unscale(scaler, chosen["scale"] * regression.coef_, chosen["scale"] * regression.intercept_)
    return Head(weights.T, bias, dict(chosen), losses)


def _choose_ridge(sample: Rows) -> tuple[dict[str, Any], list[float]]:
    folds = _divide(sample)
    if not folds:
        return {"penalty": _DEFAULT_PENALTY, "scale": _DEFAULT_SCALE}, []
    targets, options = _one_hot(sample.labels), {"ridge__sample_weight": sample.weights}
    estimator = make_pipeline(StandardScaler(), Ridge())
    search = GridSearchCV(estimator, {"ridge__alpha": _PENALTIES}, scoring="neg_mean_squared_error", cv=folds, refit=False)
    search.fit(sample.features, targets, **options)
    estimator.set_params(**search.best_params_)
    scores = cross_val_predict(estimator, sample.features, targets, cv=folds, params=options)
    scale = minimize_scalar(lambda scale: log_loss(targets, softmax(scale * scores, axis=1)), bounds=(1, 100)).x
    losses = [-float(score) for score in search.cv_results_["mean_test_score"]]
    return {"penalty": search.best_params_["ridge__alpha"], "scale": float(scale)}, losses


def _one_hot(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """A column for each class that occurs, in ascending order."""
    classes, columns = np.unique(labels, return_inverse=True)
    return np.eye(len(classes))[columns]


def _unscale(scaler: StandardScaler, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """The same classifier for features that are not standardised."""
    weights = weights / scaler.scale_
    return weights, bias - weights @ scaler.mean_


class Classifier(Protocol):
    """Fits a head to rows with a seed, and chooses what it must choose, unless that was `chosen` before."""

    def __call__(self, rows: Rows, seed: int, chosen: Mapping[str, Any] | None = None) -> Head: ...  # noqa: D102


def _in_one_thread(fit: Classifier) -> Classifier:
    """For matrices as small as these, two threads of linear algebra spend thirty times the work on waiting for each other."""

    def fit_in_one_thread(rows: Rows, seed: int, chosen: Mapping[str, Any] | None = None) -> Head:
        with threadpool_limits(1, user_api="blas"):
            return fit(rows, seed, chosen)

    return fit_in_one_thread


CLASSIFIERS: dict[str, Classifier] = {"logistic": _in_one_thread(fit_logistic), "ridge": _in_one_thread(fit_ridge)}
