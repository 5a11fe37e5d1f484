"""A page that shows the world: types, attributes, places, edits, variations, a story, a scene with its truth.

Run as: python -m scenes.gallery.page [--out gallery.html]
The page is one HTML file that contains its images.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw

from scenes.comparing.axes import AXES
from scenes.comparing.compare import compare
from scenes.comparing.edit import edit, editable
from scenes.drawing.paint import Image
from scenes.drawing.render import render
from scenes.gallery.contact_sheet import draw_alone
from scenes.language.captions import captions
from scenes.language.questions import questions
from scenes.world.catalog import LIGHTS, VIEWS, load_catalog
from scenes.world.sample import sample
from scenes.world.scene import ATTRIBUTES, Background, Scene, to_json
from scenes.world.story import story
from scenes.world.vary import vary

SIZE = 192  # pixels of a scene's side
SWEPT = ("dog", "car", "teapot")  # types that show the attributes
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
TINTS = ((230, 60, 60), (60, 130, 240), (60, 190, 90), (240, 190, 40), (170, 90, 220), (40, 200, 210))
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1240px;padding:0 1em;color:#223;background:#fafbf8}
h2{margin-top:2em;border-bottom:2px solid #dde3da}h3{margin:1em 0 .3em}
figure{display:inline-block;margin:3px;vertical-align:top}figure img{display:block;border-radius:6px}
figcaption{font-size:12px;color:#566;text-align:center;margin:auto}
pre{background:#eef2ec;padding:1em;overflow:auto;font-size:12px;border-radius:6px}
td,th{padding:2px 12px 2px 0;vertical-align:top;text-align:left}
"""


def figure(picture: Image, label: str = "") -> str:
    """An HTML figure that contains the image as PNG."""
    buffer = io.BytesIO()
    Pictures.fromarray(picture).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(label)
    width = picture.shape[1]
    image = f'<img width="{width}" loading="lazy" alt="{text}" src="data:image/png;base64,{data}">'
    return f'<figure>{image}<figcaption style="max-width:{width}px">{text}</figcaption></figure>'


def _drawn(scene: Scene, label: str = "") -> str:
    return figure(render(scene, SIZE).image, label)


def types_section() -> Iterator[str]:
    """Every object type, by category."""
    types = load_catalog().types
    grouped: dict[str, list[str]] = defaultdict(list)
    for kind in types.values():
        grouped[" > ".join(kind.path)].append(figure(draw_alone(kind, 84), kind.name))
    yield f"<h2>{len(types)} object types</h2>"
    for path, figures in sorted(grouped.items()):
        yield f"<h3>{html.escape(path)}</h3>" + "".join(figures)


def attributes_section() -> Iterator[str]:
    """Every attribute from 0 to 1."""
    types = load_catalog().types
    yield "<h2>Attributes, swept from 0 to 1</h2>"
    for name in ATTRIBUTES:
        row = [
            figure(draw_alone(types[kind], 72, "", **{name: value}), f"{value:g}")
            for kind in SWEPT
            if kind in types
            for value in STEPS
        ]
        yield f"<h3>{name}</h3>" + "".join(row)


def poses_section() -> Iterator[str]:
    """Types with four poses or more, in each pose."""
    yield "<h2>Poses</h2>"
    for kind in load_catalog().types.values():
        if len(kind.poses) >= 4:
            yield "".join(figure(draw_alone(kind, 84, pose), f"{kind.name}, {pose}") for pose in kind.poses)


def places_section() -> Iterator[str]:
    """Every place under every light, and from every view."""
    yield "<h2>Places</h2>"
    for place in load_catalog().places.values():
        seen = [(light, "eye-level") for light in LIGHTS] + [("day", view) for view in VIEWS if view != "eye-level"]
        pictures = []
        for number, (light, view) in enumerate(seen):
            scene = Scene("gallery", place.name, (), light, view, Background(seed=number))
            pictures.append(_drawn(scene, f"{light}, {view}"))
        yield f"<h3>{html.escape(place.phrase)}</h3>" + "".join(pictures)


def edits_section() -> Iterator[str]:
    """Every axis of `edit` on a scene that allows it, with the differences that `compare` finds."""
    yield "<h2>Edits: one change each</h2><table>"
    for start, axis in enumerate(AXES):
        for number in range(31 * start, 31 * start + 400):  # another scene for each
            before = sample("corpus", number)
            if axis in editable(before):
                after = edit(before, axis)
                texts = [html.escape(difference.text) for difference in compare(before, after).differences]
                pair = _drawn(before) + _drawn(after)
                yield f"<tr><td><h3>{axis}</h3></td><td>{pair}</td><td>{'<br>'.join(texts)}</td></tr>"
                break
    yield "</table>"


def variations_section() -> Iterator[str]:
    """One individual in other poses, lights, views, places and with other companions."""
    hero = story(1, "gallery")[0].scene.objects[0]
    name = html.escape(f"{hero.entity} the {hero.type}")
    yield f"<h2>One individual under <code>vary</code>: {name}</h2>"
    for seed in range(6):
        scene = vary([hero], seed)
        yield _drawn(scene, f"{scene.objects[0].pose}, {scene.place}, {scene.light}")


def story_section() -> Iterator[str]:
    """A story of five scenes."""
    yield "<h2>A story</h2>"
    for step in story(5, "gallery-story"):
        yield _drawn(step.scene, step.sentence)


def truth_section(scene: Scene) -> Iterator[str]:
    """A scene with its mask, boxes, texts and truth."""
    picture = render(scene, 2 * SIZE)
    mask = np.full((*picture.mask.shape, 3), 245, np.uint8)
    boxed = Pictures.fromarray(picture.image)
    pen = ImageDraw.Draw(boxed)
    for index, box in enumerate(picture.boxes):
        color = TINTS[index % len(TINTS)]
        mask[picture.mask == index + 1] = color
        if picture.visible[index] > 0:
            pen.rectangle([float(value) for value in box], outline=color, width=2)
    said = captions(scene)
    yield "<h2>A scene and its truth</h2>" + figure(picture.image, "image") + figure(mask, "mask")
    yield figure(np.asarray(boxed), "boxes of what is visible")
    rows = [("as on the web (" + said.alt_kind + ")", said.alt)]
    rows += [(f"clean {number}", text) for number, text in enumerate(said.clean, 1)]
    rows += [("dense", said.dense)]
    rows += [(f"region {index + 1}", text) for index, text in enumerate(said.regions) if text]
    rows += [(item.question, item.answer) for item in questions(scene)]
    yield "<table>" + "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in rows)
    yield f"</table><pre>{html.escape(json.dumps(json.loads(to_json(scene)), indent=1))}</pre>"


def busiest(numbers: Iterable[int]) -> Scene:
    """The scene with the most types among these numbers of the corpus; of equal ones that with the most visible."""
    candidates = [sample("corpus", number) for number in numbers]
    return max(
        candidates,
        key=lambda scene: (
            len({thing.type for thing in scene.objects}),
            float(render(scene, 64).visible.min(initial=0)),
        ),
    )


def page() -> str:
    """The gallery as HTML."""
    sections = (
        types_section(), attributes_section(), poses_section(), places_section(), edits_section(),
        variations_section(), story_section(), truth_section(busiest(range(60))),
    )  # fmt: skip
    scenes = "".join(
        _drawn(sample("corpus", number), captions(sample("corpus", number)).clean[0]) for number in range(12)
    )
    body = "\n".join(part for section in sections for part in section)
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>The embedded world</title><style>{STYLE}</style>'
    )
    title = "<h1>The embedded world</h1><p>Scenes whose truth is known: drawn, captioned and compared.</p>"
    return f"{head}{title}{scenes}{body}</html>"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write a page that shows the embedded world.")
    parser.add_argument("--out", type=Path, default=Path("gallery.html"), help="the HTML file to write")
    options = parser.parse_args(arguments)
    partial = options.out.with_name(options.out.name + ".partial")
    partial.write_text(page(), encoding="utf-8")
    partial.replace(options.out)
    print(options.out, file=sys.stderr)


if __name__ == "__main__":
    main()
