"""`frozen` training: features of a pretrained network, computed once, and a linear head fitted to them.

The head is folded into the network as its last layer, so the candidate is an ordinary network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from components.common.candidate import Candidate
from components.common.dataset import Dataset
from components.common.progress import say
from components.common.recipe import Recipe
from components.common.shards import Images
from components.common.store import artifact_digest
from components.common.weighting import weigh
from components.train.features import export_backbone, extract_features
from components.train.heads import CLASSIFIERS, Rows
from components.train.models import parts, resolve_options
from components.train.network import Floats, build_network, set_head


def fit_frozen(
    network: keras.Model, dataset: Dataset, views: Path, recipe: Recipe, candidate: Candidate
) -> tuple[dict[str, Any], dict[str, list[float]], float]:
    """Fit the head of a network whose other weights stay as they are.

    Args:
        network: Gets the head.
        dataset: Its training split is learned from.
        views: Output of the augment step: further views of the same images, in the same order, one after the other.
        recipe: The experiment.
        candidate: What is trained.

    Returns:
        Parameters to report, the curve of the cross-validated loss over the penalties tried, and the CPU-seconds that earlier trainings
        had spent on what this one found computed.
    """
    images = list_training_images(dataset, views, recipe, candidate)
    features, cpu_seconds_before = compute_features(dataset, candidate, images, network)
    rows = label_training_images(features, dataset, recipe)
    head = CLASSIFIERS[candidate.classifier](rows, recipe.seed)
    set_head(network, head.weights, head.bias)
    chosen = ", ".join(f"{name} {value:g}" for name, value in head.params.items())
    say(f"{candidate.classifier} on {len(rows.labels)} rows of {rows.features.shape[1]} features: {chosen}")
    params = {**head.params, "num_features": rows.features.shape[1], "num_rows": len(rows.labels)}
    return params, {"cv_loss": head.curve}, cpu_seconds_before


def list_training_images(dataset: Dataset, views: Path, recipe: Recipe, candidate: Candidate) -> dict[str, tuple[Images, str]]:
    """What a head learns from: the training images and each set of their views, as `compute_features` takes them."""
    images = {"originals": (dataset.images("train"), artifact_digest(dataset.folder))}
    if candidate.augment and recipe.augment.views:
        images["augmented views"] = (Images(sorted(views.glob("train-*.npy"))), artifact_digest(views))
    return images


def label_training_images(features: Floats, dataset: Dataset, recipe: Recipe) -> Rows:
    """Features of `list_training_images`, shape (copies * images, channels), with labels, groups and weights; views have their image's."""
    train = dataset.rows("train")
    num_copies = len(features) // len(train)
    return Rows(
        features,
        np.tile(dataset.labels("train"), num_copies),
        np.tile(train["group"].to_numpy(str), num_copies),
        np.tile(weigh(train, recipe.weights), num_copies),
    )


def compute_features(
    dataset: Dataset, candidate: Candidate, images: Mapping[str, tuple[Images, str]], network: keras.Model | None = None
) -> tuple[Floats, float]:
    """Features of images: beside each other what the candidate's networks say of an image, below each other the images.

    Args:
        dataset: Whose training images calibrate int8.
        candidate: Says which networks.
        images: What they are -> the images, and what identifies them.
        network: The candidate's, if it has been built; its head does not matter.

    Returns:
        Shape (images, channels of all networks); and the CPU-seconds that those took which were found computed.
    """
    # The network of a concatenation is none of those that compute its features.
    computed = [_compute(part, dataset, images, network if part is candidate else None) for part in parts(candidate)]
    features = [some for some, _ in computed]
    return np.hstack(features) if len(features) > 1 else features[0], sum(seconds for _, seconds in computed)


def _compute(
    part: Candidate, dataset: Dataset, images: Mapping[str, tuple[Images, str]], network: keras.Model | None
) -> tuple[Floats, float]:
    """Features of all images under one pretrained network, and what it had taken to compute those that were found."""
    # With the options that are not set too, so that a network beside another is known for the one that it is alone.
    key = part.model_dump(include={"architecture", "input_size", "flip_tta"})
    key |= {"options": resolve_options(part), "image_size": dataset.image_size}
    backbone = export_backbone(
        lambda: network or build_network(part, dataset.image_size, len(dataset.classes)), key, dataset, int8=part.int8
    )
    features, cpu_seconds_before = extract_features(backbone, images, part.architecture)
    return features, backbone.cpu_seconds_before + cpu_seconds_before
