from __future__ import annotations

import pytest

from serving.options import Options, RequestError


def test_text_and_json_mean_the_same() -> None:
    from_json = Options.parse({"top_k": 3, "threshold": 0.5, "heat_map": True, "on_error": "report"})
    assert from_json == Options.parse({"top_k": "3", "threshold": "0.5", "heat_map": "true", "on_error": "report"})
    assert from_json == Options(top_k=3, threshold=0.5, heat_map=True, on_error="report")
    assert Options.parse({}) == Options.parse({"threshold": None}) == Options()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"topk": 1}, "unknown option 'topk'; there are top_k, threshold, heat_map, on_error"),
        ({"top_k": -1}, "top_k is '-1'; expected a whole number"),
        ({"top_k": 1.5}, "top_k is '1.5'"),
        ({"top_k": float("inf")}, "top_k is 'inf'"),
        ({"top_k": True}, "top_k is 'True'"),
        ({"top_k": [1]}, "top_k is"),
        ({"threshold": "nan"}, "threshold is 'nan'; expected a number from 0 to 1"),
        ({"threshold": 1.01}, "threshold is '1.01'"),
        ({"threshold": {}}, "threshold is"),
        ({"heat_map": "yes"}, "heat_map is 'yes'; expected true or false"),
        ({"on_error": "ignore"}, "on_error is 'ignore'; expected fail or report"),
        ({"on_error": ["fail"]}, "on_error is"),
        ({"threshold": "9" * 5000}, "threshold is '99999"),
        ({"top_k": "9" * 5000}, "top_k is '99999"),
    ],
)
def test_a_wrong_option_is_refused_in_words(values: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        Options.parse(values)
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 200
