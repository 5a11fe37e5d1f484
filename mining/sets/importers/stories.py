"""Stories over several photographs, in the form of VIST (Huang et al., NAACL 2016).

{"images": [...], "albums": [...], "annotations": [[{"story_id", "worker_arranged_photo_order": 0, "photo_flickr_id",
"text", "worker_id", "storylet_id", ...}], ...]}: an annotation a step. A story is a set of its photographs in their
order; stories over the same photographs are annotations of one set, each by its worker.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from index.errors import BadInput
from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet
from mining.sets.importers.json_stream import read_json
from mining.sets.importers.record import Draft, NamedImage, RecordRejected, Said, pick, require_text

__all__ = ["parse_story", "read_stories", "restore_story", "write_stories"]

_STEP = ("photo_flickr_id", "worker_id", "story_id", "worker_arranged_photo_order", "text")


def read_stories(path: str) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """(the file but for images, albums and annotations; its stories). The file is read as a whole.

    A story: {"steps": [{"place": in the file's annotations, "step": the annotation}], "photos": by id, "album"}.
    Photographs and albums of no story are left out. Raises BadInput.
    """
    whole = read_json(path)
    if not isinstance(whole, dict) or not isinstance(whole.get("annotations"), list):
        raise BadInput(f"{path}: is no file of stories, which has a list `annotations` with a step of a story each")
    photos = _by_id(whole.pop("images", []))
    albums = _by_id(whole.pop("albums", []))
    stories: dict[str, list[dict[str, Any]]] = {}
    for place, nested in enumerate(whole.pop("annotations")):
        step = nested[0] if isinstance(nested, list) and len(nested) == 1 else nested
        own = step.get("story_id") if isinstance(step, dict) else None
        stories.setdefault(str(own) if own is not None else f"step {place}", []).append({"place": place, "step": step})
    return whole, _stories(stories, photos, albums)


def write_stories(header: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> bytes:
    """A file of these stories, with their photographs and albums. header: what `read_stories` found beside them."""
    steps: list[tuple[int, Any]] = []
    photos: dict[str, Any] = {}
    albums: dict[str, Any] = {}
    for record in records:
        steps += [(step["place"], step["step"]) for step in record["steps"]]
        photos |= record["photos"]
        if record["album"] is not None:
            albums[str(record["album"]["id"])] = record["album"]
    annotations = [[step] for _, step in sorted(steps, key=lambda placed: placed[0])]
    whole = {"images": list(photos.values()), "albums": list(albums.values()), **header, "annotations": annotations}
    return (json.dumps(whole, ensure_ascii=False) + "\n").encode()


def parse_story(record: Mapping[str, Any]) -> Draft:
    """A story of `read_stories`. Raises RecordRejected; a story has two steps or more."""
    steps = [(each["place"], each["step"]) for each in record["steps"]]
    for _, step in steps:
        if not isinstance(step, Mapping):
            raise RecordRejected("a field of another type", "an annotation is a list of one object")
        pick(step, _STEP)
        if type(step["worker_arranged_photo_order"]) is not int:
            raise RecordRejected("a field of another type", "worker_arranged_photo_order is not a whole number")
    if len(steps) < 2:
        raise RecordRejected("a story of one step")
    steps.sort(key=lambda placed: (placed[1]["worker_arranged_photo_order"], placed[0]))
    first = steps[0][1]
    if any(step["worker_id"] != first["worker_id"] for _, step in steps):
        raise RecordRejected("a story by several workers")
    images, turns, others = [], [], []
    for number, (place, step) in enumerate(steps):
        own = str(step["photo_flickr_id"])
        photo = record["photos"].get(own)
        url = next((photo[name] for name in ("url_o", "url_m") if photo.get(name)), None) if photo else None
        if url is not None:
            require_text(url, "a photograph's URL")
        images.append(NamedImage(own, url, extra={"photo": photo} if photo else {}))
        turns += [Turn("user", (number,)), Turn("assistant", (require_text(step["text"], "text"),))]
        elsewhere = {"text", "worker_id", "story_id", *(["photo_flickr_id"] if step["photo_flickr_id"] == own else [])}
        rest = {name: None if name in elsewhere else value for name, value in step.items()}
        others.append({"place": place, "step": rest})
    content = {"story_id": first["story_id"], "album": record["album"], "steps": others}
    said = Said("story", tuple(turns), content, annotator=str(first["worker_id"]).strip() and str(first["worker_id"]))
    named = isinstance(first["worker_id"], str) and first["worker_id"].strip()
    form = {} if named else {"worker_id": first["worker_id"]}
    return Draft(str(first["story_id"]), tuple(images), (said,), form)


def restore_story(each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> dict[str, Any]:
    """The story as `read_stories` gives it."""
    said = own[0]
    worker = form.get("worker_id", said.annotator.name)
    steps = []
    for number, other in enumerate(said.content["steps"]):
        text = said.turns[2 * number + 1].text
        known = {"text": text, "worker_id": worker, "story_id": said.content["story_id"]}
        if other["step"]["photo_flickr_id"] is None:
            known["photo_flickr_id"] = each.members[number].key
        steps.append({"place": other["place"], "step": {**other["step"], **known}})
    photos = {str(member.key): member.extra["photo"] for member in each.members if "photo" in member.extra}
    return {
        "steps": sorted(steps, key=lambda step: step["place"]),
        "photos": photos,
        "album": said.content["album"],
    }


def _stories(
    stories: Mapping[str, list[dict[str, Any]]], photos: Mapping[str, Any], albums: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    for steps in stories.values():
        known = [each["step"] for each in steps if isinstance(each["step"], dict)]
        own = {str(step.get("photo_flickr_id")) for step in known}
        album = next((albums.get(str(step.get("album_id"))) for step in known), None)
        yield {"steps": steps, "photos": {name: photos[name] for name in sorted(own & set(photos))}, "album": album}


def _by_id(entries: Any) -> dict[str, Any]:
    listed = entries if isinstance(entries, list) else []
    return {str(entry["id"]): entry for entry in listed if isinstance(entry, dict) and "id" in entry}
