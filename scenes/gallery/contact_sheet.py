"""Contact sheets: draws the types of a catalog file in a labelled grid, to check that they are recognizable.

Run as: python -m scenes.gallery.contact_sheet OUT.png [animals.json | dog cat ...] [--poses] [--extremes] [--cell 128]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw

from scenes.drawing.paint import Image, paint
from scenes.drawing.palette import ObjectColors
from scenes.shapes.posing import build_template
from scenes.world.catalog import FOLDER, CatalogError, ObjectType, load_catalog, read_catalog
from scenes.world.scene import ATTRIBUTES, SceneObject

PAPER = (222, 228, 224)


def draw_alone(kind: ObjectType, size: int, pose: str = "", **attributes: float | int | str) -> Image:
    """One object that fills a plain image [size, size, 3] RGB; `attributes` override fields of the object."""
    settings: dict[str, float | int | str] = {
        "hue": (kind.hue[0] + kind.hue[1]) / 2,
        "saturation": (kind.saturation[0] + kind.saturation[1]) / 2 + 0.1,
        "lightness": (kind.lightness[0] + kind.lightness[1]) / 2,
        "facing": "right",
    }
    settings.update(attributes)
    fit = 0.84 / max(1.0, kind.aspect)
    thing = SceneObject(type=kind.name, x=0.5, y=0.92, size=1.0, **settings)  # type: ignore[arg-type]
    template = build_template(kind.drawing, kind.poses[0], pose or kind.poses[0])
    layer = paint(thing, template, ObjectColors(thing, kind.drawing), fit, size)
    sheet = np.empty((size * 2, size * 2, 3), np.uint8)
    sheet[:] = PAPER
    top, left = layer.top + size // 2, layer.left + size // 2
    rows, columns = layer.rgba.shape[:2]
    part = sheet[top : top + rows, left : left + columns]
    rgba = layer.rgba[: part.shape[0], : part.shape[1]]
    part[:] = rgba[:, :, :3] + (part * (255 - rgba[:, :, 3:].astype(np.uint16)) // 255).astype(np.uint8)
    return np.ascontiguousarray(sheet[size // 2 : size // 2 + size, size // 2 : size // 2 + size])


def sheet(cells: Sequence[tuple[str, Image]], columns: int, path: str) -> None:
    """Write (label, image) cells as a grid of `columns` to `path`."""
    size = cells[0][1].shape[0]
    rows = -(-len(cells) // columns)
    page = Pictures.new("RGB", (columns * size, rows * (size + 14)), PAPER)
    pen = ImageDraw.Draw(page)
    for index, (label, picture) in enumerate(cells):
        x, y = index % columns * size, index // columns * (size + 14)
        page.paste(Pictures.fromarray(picture), (x, y))
        pen.text((x + 3, y + size), label, fill=(20, 20, 20))
    page.save(path)


def _chosen(names: Sequence[str]) -> list[ObjectType]:
    """The named types. With file names, only those files are read, so that mistakes in others do not matter."""
    files = [FOLDER / name for name in names if name.endswith(".json")]
    types = (read_catalog([FOLDER / "plans.json", *files]) if files else load_catalog()).types
    wanted = [name for name in names if not name.endswith(".json")]
    return [types[name] for name in (wanted or types)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Draws types in a labelled grid.")
    parser.add_argument("out", help="the PNG file to write")
    parser.add_argument("names", nargs="*", help="catalog files and types of them (default: all types)")
    parser.add_argument("--poses", action="store_true", help="every pose of every type")
    parser.add_argument("--extremes", action="store_true", help="every attribute at 0 and 1")
    parser.add_argument("--cell", type=int, default=128, help="pixels a cell")
    parser.add_argument("--columns", type=int, default=10)
    options = parser.parse_args(arguments)
    cells: list[tuple[str, Image]] = []
    columns = options.columns
    try:
        chosen = _chosen(options.names)
    except CatalogError as error:
        raise SystemExit(str(error)) from None
    for kind in chosen:
        if options.poses:
            cells += [(f"{kind.name} {pose}", draw_alone(kind, options.cell, pose)) for pose in kind.poses]
        elif options.extremes:
            for name in ATTRIBUTES[3:]:
                for value in (1.0,) if name in ("roughness", "gloss") else (0.0, 1.0):
                    picture = draw_alone(kind, options.cell, "", **{name: value})
                    cells.append((f"{kind.name} {name} {value:.0f}", picture))
            columns = 8
        else:
            cells.append((kind.name, draw_alone(kind, options.cell)))
    sheet(cells, min(columns, len(cells)), options.out)


if __name__ == "__main__":
    main()
