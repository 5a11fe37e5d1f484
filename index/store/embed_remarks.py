"""What to say of samples that were rejected and files that were passed over: the cause, and the option that helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from index.corpus.reading import Reading
from index.corpus.samples import CAPTIONS_APART

__all__ = ["remarks", "why_nothing"]

_WHERE_CAPTIONS_ARE = (
    "captions are read from KEY.txt, KEY.caption, KEY.json ('caption', 'captions'; another field by --caption-field), "
    "the same with the image's whole name (KEY.jpg.json), and a folder's metadata.jsonl"
)
_REMEDIES = {
    "members_apart": "images and captions of a key lie apart in the tars: write them with `tar --sort=name`",
    CAPTIONS_APART: (
        "captions lie apart from their images in the tars, so the images have none: write the tars with "
        "`tar --sort=name`"
    ),
    "image_name_not_read": "images have an extension that is not known: name it with --image-ext",
    "caption_not_utf8": (
        "captions are not UTF-8: name their encoding, such as --caption-encoding cp1252 (latin-1, shift_jis, ...)"
    ),
    "sidecar_not_utf8": "json files are not UTF-8: name their encoding, such as --caption-encoding cp1252",
    "caption_not_text": "the json's caption must be a text, or a list or an object of texts",
    "caption_not_read": "KEY.txt is read, and of other names as KEY.en.txt only a single one: rename one to KEY.txt",
    "missing_caption": (
        f"{_WHERE_CAPTIONS_ARE}; take them from file names with --caption-pattern, or keep images without one with "
        "--allow-empty-caption"
    ),
    "empty_caption": "keep images without a caption with --allow-empty-caption",
    "link_not_followed": "links in tars are read where they lead to an earlier member only: write with `tar -h`",
    "camera_raw": "a camera's raw files must be developed first, for example to JPEG",
    "needs_pillow_heif": "HEIC images are read where the package pillow-heif is installed (pip install pillow-heif)",
    "needs_pillow_jxl_plugin": (
        "JPEG XL images are read where the package pillow-jxl-plugin is installed (pip install pillow-jxl-plugin)"
    ),
}
# For keys under webdataset's rule, where images of their own may share one; and for keys under the other rule.
_SHARED_KEY = (
    "second_image: images share a key, which ends at the first dot of a name (3.10.jpg and 3.11.jpg have the key 3): "
    "--key-rule stem takes each name up to its last dot"
)
_SPLIT_KEY = (
    "missing_image: images and captions differ in what stands before the last dot (KEY.input.jpg, KEY.output.txt): "
    "--key-rule webdataset takes names up to their first dot"
)


def remarks(rejected: Mapping[str, int], passed_over: Mapping[str, int], reading: Reading, kind: str) -> list[str]:
    """One line for each cause that can be mended, the most frequent first.

    Args:
        rejected: samples by reason. passed_over: files by kind.
        kind: "tar" or "folder".
    """
    counts = {**rejected, CAPTIONS_APART: passed_over.get(CAPTIONS_APART, 0)}
    lines: list[tuple[int, str]] = []
    for reason, remedy in _REMEDIES.items():
        if count := counts.get(reason, 0):
            lines.append((count, f"{reason}: {remedy}"))
    shared = rejected.get("second_image", 0) + rejected.get("image_field", 0)
    split = min(rejected.get("missing_caption", 0), rejected.get("missing_image", 0))
    if kind == "tar" and reading.key_rule == "webdataset" and shared:
        lines.append((shared, _SHARED_KEY))
    if kind == "tar" and reading.key_rule == "stem" and split:
        lines.append((split, _SPLIT_KEY))
    lines.sort(key=lambda line: -line[0])
    return [line for _, line in lines]


def why_nothing(
    source: str,
    read: int,
    rejected: Mapping[str, int],
    passed_over: Mapping[str, int],
    names: Sequence[str],
    reading: Reading,
    kind: str,
) -> str:
    """Why no sample of a source could be embedded, in one line.

    Args:
        names: some of the files that were passed over.
    """
    if read:
        ordered = sorted(rejected.items(), key=lambda entry: -entry[1])
        counts = ", ".join(f"{count} {reason}" for reason, count in ordered)
        line = f"{source}: none of its {read} samples could be embedded ({counts})"
        causes = [remark.partition(": ")[2] or remark for remark in remarks(rejected, passed_over, reading, kind)]
        return "; ".join([line, *causes[:2], *([_passed(passed_over, names)] if names else [])])
    if not names:
        return f"{source}: holds no samples: it is empty"
    options = "name their extensions with --image-ext and --caption-ext"
    return f"{source}: holds no samples; {_passed(passed_over, names)}; if they are images and captions, {options}"


def _passed(passed_over: Mapping[str, int], names: Sequence[str]) -> str:
    some = ", ".join(names)
    return f"{sum(passed_over.values()):,} other files were passed over, such as {some}"
