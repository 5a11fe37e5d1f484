"""The gallery's sections, each with real pictures inside."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from scenes.gallery.page import attributes_section, figure, places_section, truth_section
from scenes.language.captions import captions
from scenes.world.catalog import load_catalog
from scenes.world.sample import sample
from scenes.world.scene import ATTRIBUTES


def test_a_figure_holds_its_picture_unchanged_and_escapes_its_label() -> None:
    picture = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    text = figure(picture, "<b> & co")
    found = re.search(r"base64,([^\"]+)", text)
    assert found is not None
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1])))), picture)
    assert "&lt;b&gt; &amp; co" in text


def test_every_attribute_and_every_place_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenes.gallery.page.SIZE", 32)
    attributes, places = "".join(attributes_section()), "".join(places_section())
    assert all(f"<h3>{name}</h3>" in attributes for name in ATTRIBUTES)
    assert all(place.phrase in places for place in load_catalog().places.values())


def test_a_scene_is_shown_with_mask_boxes_texts_and_truth() -> None:
    scene = sample("corpus", 1)
    text = "".join(truth_section(scene))
    assert text.count("<img") == 3
    assert captions(scene).clean[0] in text
    assert "&quot;place&quot;" in text
