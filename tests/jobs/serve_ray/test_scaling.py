"""How many replicas a deployment has: a number, or a range that Ray Serve's own class checks."""

from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from jobs.serve_ray.scaling import read_scale


def test_a_number_is_both_the_least_and_the_most() -> None:
    assert read_scale("shard", None, None, 2).options == {"num_replicas": 1}
    scale = read_scale("shard", 3, None, 2)
    assert (scale.least, scale.most, scale.options) == (3, 3, {"num_replicas": 3})


def test_a_range_takes_the_fields_of_serve_and_our_target() -> None:
    scale = read_scale("shard", None, {"min_replicas": 2, "max_replicas": 5, "upscale_delay_s": 3}, 2)
    made = scale.options["autoscaling_config"]
    assert (scale.least, scale.most) == (made.min_replicas, made.max_replicas) == (2, 5)
    assert (made.target_ongoing_requests, made.upscale_delay_s) == (2, 3)
    own = read_scale("shard", None, {"max_replicas": 5, "target_ongoing_requests": 7}, 2)
    assert own.options["autoscaling_config"].target_ongoing_requests == 7


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_replica": 4}, r"no field 'max_replica'; the fields are min_replicas, "),
        ({"max_replicas": "many"}, r"max_replicas: Input should be a valid integer"),
        ({"min_replicas": 3, "max_replicas": 2}, r"max_replicas \(2\) must be greater than or equal to min_replicas"),
        ({"min_replicas": 0, "max_replicas": 2}, r"min_replicas: at least 1"),
        ({"target_ongoing_requests": 0}, r"target_ongoing_requests: Input should be greater than 0"),
    ],
)
def test_what_serve_does_not_take_is_one_line(config: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=rf"^encoder_autoscaling_config: {message}") as raised:
        read_scale("encoder", None, config, 2)
    assert "\n" not in str(raised.value)


def test_a_number_and_a_range_contradict_each_other() -> None:
    with pytest.raises(BadInput, match=r"front_autoscaling_config and front_replicas: give one of them"):
        read_scale("front", 1, {"max_replicas": 4}, 2)
