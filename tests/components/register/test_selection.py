from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.common.errors import PawflowError
from components.common.recipe import Recipe
from components.register.answers import Answers
from components.register.selection import choose_winner

NUM = 400


def answers(num_wrong: int, *, start: int = 0, clean: int = NUM) -> Answers:
    """Answers for images that all show cats, `num_wrong` of them wrong, from `start` on."""
    places = np.arange(NUM)
    wrong = (places >= start) & (places < start + num_wrong)
    rows = pd.DataFrame({"id": places, "sha256": places, "label": "cat", "group": places.astype(str), "clean": places < clean})
    return Answers(("cat", "dog"), rows, np.where(wrong[:, np.newaxis], [0.2, 0.8], [0.8, 0.2]))


def latencies(**values: float) -> dict[str, float]:
    return values


def test_the_best_on_validation_wins_and_of_equals_the_first(recipe: Recipe) -> None:
    choice = choose_winner({"a": answers(80), "b": answers(20), "c": answers(20, start=90)}, latencies(a=1, b=9, c=1), recipe)
    assert choice.winner == "b"
    assert choice.ties == ("c",)
    assert choice.num_images == NUM
    assert "chance alone may have put c behind it" in choice.reason


def test_the_fastest_within_the_margin_wins_where_the_recipe_says_so(recipe: Recipe) -> None:
    cheap = recipe.model_copy(update={"select_policy": "cheapest_within_margin", "select_margin": 0.05})
    candidates = {"best": answers(10), "close": answers(12), "poor": answers(60)}
    choice = choose_winner(candidates, latencies(best=9, close=3, poor=1), cheap)
    assert (choice.winner, choice.best, choice.within_margin) == ("close", "best", ("best", "close"))
    assert choose_winner(candidates, latencies(best=2, close=3, poor=1), cheap).winner == "best"


def test_the_more_are_compared_the_more_it_takes(recipe: Recipe) -> None:
    """Beside many candidates that err on images of their own, the same shortfall is no longer shown to be within the margin."""
    cheap = recipe.model_copy(update={"select_policy": "cheapest_within_margin", "select_margin": 0.028})
    few = {"best": answers(10), "close": answers(12, start=5)}
    many = few | {f"other{number}": answers(16, start=20 * number) for number in range(2, 18)}
    assert "close" in choose_winner(few, dict.fromkeys(few, 1.0), cheap).within_margin
    assert "close" not in choose_winner(many, dict.fromkeys(many, 1.0), cheap).within_margin


def test_agreement_on_a_handful_of_images_shows_nothing(recipe: Recipe) -> None:
    cheap = recipe.model_copy(update={"select_policy": "cheapest_within_margin", "select_margin": 0.01})
    few = {name: answers(2).take(np.arange(NUM) < 20) for name in ("large", "tiny")}
    assert choose_winner(few, latencies(large=9, tiny=1), cheap).winner == "large"
    many = {name: answers(2) for name in few}
    assert choose_winner(many, latencies(large=9, tiny=1), cheap).winner == "tiny"


def test_a_hopeless_candidate_does_not_blur_the_others(recipe: Recipe) -> None:
    candidates = {"big": answers(10), "mid": answers(32)}
    assert choose_winner(candidates, latencies(big=1, mid=1), recipe).ties == ()
    assert choose_winner(candidates | {"poor": answers(170)}, latencies(big=1, mid=1, poor=1), recipe).ties == ()


def test_where_confounding_is_only_reported_all_images_choose(recipe: Recipe) -> None:
    sly, honest = answers(30, clean=100), answers(60, start=200, clean=100)
    reported = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"confounding": "report"})})
    assert choose_winner({"sly": sly, "honest": honest}, latencies(sly=1, honest=1), reported).winner == "sly"


def test_images_that_give_their_class_away_do_not_choose(recipe: Recipe) -> None:
    """`sly` is best on all images, `honest` on those that count."""
    sly, honest = answers(30, clean=100), answers(60, start=200, clean=100)
    assert choose_winner({"sly": sly, "honest": honest}, latencies(sly=1, honest=1), recipe).winner == "honest"


def test_no_finite_candidate_is_an_error(recipe: Recipe) -> None:
    broken = answers(10)
    broken.probabilities[5] = np.nan
    assert choose_winner({"broken": broken, "poor": answers(200)}, latencies(broken=1, poor=1), recipe).winner == "poor"
    with pytest.raises(PawflowError, match="no candidate has a finite accuracy"):
        choose_winner({"broken": broken}, latencies(broken=1), recipe)
