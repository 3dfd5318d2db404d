"""`frozen` training: features of a pretrained network, computed once, and a linear head fitted by scikit-learn.

The head is folded into the network as its last layer, so the candidate is an ordinary network. Features are stored by content: another
candidate with the same backbone and images, or a run after a killed one, finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from components.common.dataset import Images
from components.common.progress import say, track
from components.common.store import Record, produce
from components.train.export import export_onnx, open_session
from components.train.network import Floats, pooled_features, set_head

_FEATURES = "features.npy"
_BATCH = 32
#: Inverse strengths of the L2 penalty that are tried; features are standardised first.
_INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
_NUM_FOLDS = 3


def extract_features(network: keras.Model, images: Images, key: dict[str, object], description: str) -> Floats:
    """Pooled features of images, float32 (n, channels), computed through ONNX Runtime on all cores and stored by content.

    Args:
        network: Its weights up to the head decide the features.
        images: What to compute them for.
        key: Identifies network and images.
        description: For the progress bar.
    """

    def compute(folder: Path) -> Record:
        backbone = folder / "backbone.onnx"
        export_onnx(pooled_features(network), backbone, ["features"])
        session = open_session(backbone)
        features = np.empty((len(images), session.get_outputs()[0].shape[1]), np.float32)
        for start in track(range(0, len(images), _BATCH), description, unit="batch"):
            batch = images[start : start + _BATCH].astype(np.float32)
            features[start : start + _BATCH] = session.run(None, {"image": batch})[0]
        np.save(folder / _FEATURES, features)
        backbone.unlink()
        return Record()

    entry, reused = produce("train", {"features": key}, compute)
    if reused:
        say(f"{description}: reused")
    return np.asarray(np.load(entry / _FEATURES))


def fit_head(
    network: keras.Model,
    features: Floats,
    labels: NDArray[np.int64],
    groups: Sequence[str],
    seed: int,
    weights_of_rows: NDArray[np.float64] | None = None,
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Fit a logistic regression to features and fold it into the network.

    The penalty is chosen by cross-validated log-loss, with all images of a group in the same fold.

    Args:
        network: Whose head is set.
        features: Shape (n, channels).
        labels: Class numbers, shape (n,).
        groups: What may not be divided between folds, one for each row.
        seed: Of the solver.
        weights_of_rows: How much each row counts, shape (n,); None for all alike.

    Returns:
        Parameters to report, and the curve of cross-validated log-loss over the penalties tried.
    """
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed)),
        {"logisticregression__C": _INVERSE_PENALTIES},
        scoring="neg_log_loss",
        cv=GroupKFold(_NUM_FOLDS),
    )
    search.fit(features, labels, groups=np.asarray(groups), logisticregression__sample_weight=weights_of_rows)
    scaler, regression = search.best_estimator_.named_steps.values()
    weights = regression.coef_ / scaler.scale_
    bias = regression.intercept_ - weights @ scaler.mean_
    if len(weights) == 1:
        # Two classes have one score; half of it for and half against gives the same softmax as its sigmoid.
        weights, bias = np.vstack([-weights / 2, weights / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    set_head(network, weights.T, bias)
    losses = [-float(score) for score in search.cv_results_["mean_test_score"]]
    say("log-loss by penalty: " + ", ".join(f"C={c:g}: {loss:.4f}" for c, loss in zip(_INVERSE_PENALTIES, losses, strict=True)))
    return {"inverse_penalty": regression.C, "num_features": features.shape[1], "num_rows": len(features)}, {"cv_log_loss": losses}
