import pytest

from components.common.errors import PawflowError
from components.common.recipe import parse_recipe

SOURCES = "name: x\nsources: {archives: [{name: photos, provider: sample}]}"
TUNED = "name: one, architecture: vgg16, mode: fine_tune"


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        # A field of two types.
        (
            f"candidates=[{{{TUNED}, unfreeze: 1.5}}]",
            ["candidates.0.unfreeze: Input should be a valid string or a valid integer (got 1.5)"],
        ),
        # What is said of an entry, or of all of it, does not repeat what stands in it.
        (
            f"candidates=[{{{TUNED}, classifier: ridge}}]",
            ["candidates.0: classifier is ridge, but does nothing in mode fine_tune; leave it out, or set mode: frozen"],
        ),
        (f"candidates=[{{{TUNED}}}, {{{TUNED}}}]", ["the recipe: candidate names must differ, but one occurs more than once"]),
        ("candidates=[{name: one}]", ["candidates.0.architecture: Field required", "candidates.0.mode: Field required"]),
        ("image_size=[64]", ["image_size: Input should be a valid integer"]),
        # A key of a mapping is no type.
        ("sources.archives.0.labels={str: 3}", ["sources.archives.0.labels.str: Input should be a valid string (got 3)"]),
    ],
)
def test_an_error_has_one_line_for_each_field_and_says_what_is_wrong(override: str, lines: list[str]) -> None:
    with pytest.raises(PawflowError) as refusal:
        parse_recipe(SOURCES, overrides=(override,))
    assert str(refusal.value).splitlines()[1:] == [f"  {line}" for line in lines]
