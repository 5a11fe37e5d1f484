"""Import a foreign collection: its records become image sets with annotations, in one pass over its files.

Records with the same images are annotations of one set. `content["record"]` of an annotation says which record it came
from, {"file", "place"}, and how that was written; `mining.sets.importers.restoring` makes the records again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from index.errors import BadInput
from index.files import file_size, join, sha256_file
from index.outputs import remove_folder
from mining.sets.annotation import Annotation, Annotator
from mining.sets.annotations import append_annotations
from mining.sets.image_set import ImageSet, Member
from mining.sets.image_sets import ImageSets
from mining.sets.importers.formats import Format, get_format
from mining.sets.importers.image_finder import Found, ImageFinder
from mining.sets.importers.image_names import is_inside
from mining.sets.importers.image_packs import FOLDER as PACKED
from mining.sets.importers.image_packs import ImagePack, is_encoded
from mining.sets.importers.import_config import ImportConfig, check_columns, list_files
from mining.sets.importers.import_counts import ImportCounts
from mining.sets.importers.record import (
    TOO_DEEP,
    Draft,
    NamedImage,
    RecordRejected,
    require_unicode,
    without_nonfinite,
)
from mining.sets.importers.record_files import Unread
from mining.sets.sources import Source, files_source
from mining.sets.write_sets import PART_SETS, ImageSetsWriter

__all__ = ["OWN_FOLDERS", "import_sets"]

# What an import writes beside the manifest.
OWN_FOLDERS = ("sets", "members", "annotations", PACKED)

# Records whose images are looked up and hashed together.
_WINDOW = 512
# The same for records that hold image files.
_WINDOW_BYTES = 64 << 20


@dataclass(frozen=True)
class _Placed:
    """A draft and where its record is."""

    draft: Draft
    file: str
    place: int

    @property
    def where(self) -> str:
        return f"{self.file} record {self.place}"


def import_sets(
    config: ImportConfig, on_progress: Callable[[int, int], None] = lambda records, files: None
) -> ImageSets:
    """Import what `config` asks for into its folder `out`, and open the sets; an unfinished import in it is deleted.

    on_progress: called with the records read and the files finished so far. Memory: ids of sets and names of images are
    held, and a part of 50,000 sets: 0.8 GB for 665,000 conversations on 443,000 images (`python -m
    benchmarks.import_round_trip`). Files of VIST and MIMIC-IT are held as a whole.

    Raises BadInput: a missing or broken file, an unknown format or column, nothing that could be imported.
    """
    form = get_format(config.format, config.mapping, config.kind)
    files = list_files(config.files, form.suffixes)
    check_columns(form, files)
    for part in OWN_FOLDERS:
        remove_folder(join(config.out, part))
    pack = ImagePack(config.out)
    wanted = _names_in(form, files) if any(map(is_encoded, config.images)) else ()
    finder = ImageFinder(config.images, pack, wanted)
    try:
        build = _Build(config, form, finder)
        described = []
        for number, (path, name) in enumerate(zip(files, _file_names(files), strict=True)):
            described.append(build.import_file(path, name, partial(_tell, on_progress, number)))
            on_progress(build.counts.records, number + 1)
        pack.close()
    finally:
        finder.close()
        pack.close()
    counts = build.counts
    for text in finder.names.notes:
        counts.note(text)
    images = finder.counts()
    if not config.images and (missing := sum(images["not_found"].values())):
        counts.note(
            f"no --images was given, so images are known by name or URL only ({missing:,}) and cannot be shown; import"
            " again into another folder with --images DIR_OR_TAR"
        )
    if not counts.imported:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.skipped.most_common()) or "no records"
        first = next((named[0] for named in counts.examples.values()), ", ".join(files))
        raise BadInput(f"nothing could be imported as {config.format} ({reasons}), first {first}")
    asked = {
        "format": form.name,
        "collection": build.collection,
        "mapping": [list(pair) for pair in config.mapping],
        "kind": config.kind,
        "files": described,
        "images": list(config.images),
    }
    return build.finish({**asked, **counts.to_json(images)})


class _Build:
    """The state of an import: the set of each list of images, the ids that are taken, and the counts."""

    def __init__(self, config: ImportConfig, form: Format, finder: ImageFinder) -> None:
        self.config, self.form, self.finder = config, form, finder
        self.writer = ImageSetsWriter(config.out)
        self.counts = ImportCounts()
        self.collection = config.collection or form.name
        self._sets: dict[bytes, str] = {}
        self._ids: set[str] = set()
        self._repeats: Counter[str] = Counter()
        self._used: set[str] = set()
        self._said: list[Annotation] = []  # not written yet
        self._parts = 0  # of annotations
        roots = [None, *finder.roots, join(config.out, PACKED)]
        self._sources = {root: self._source(root) for root in roots}

    def import_file(self, path: str, name: str, on_progress: Callable[[int], None]) -> dict[str, Any]:
        """Import a file; returns its entry in the manifest, where it is called `name`."""
        before = self.counts.records
        header, records = self.form.open(path, self.counts.note)
        window: list[_Placed] = []
        held = 0
        for place, record in enumerate(records):
            self.counts.records += 1
            draft = self._draft(record, name, place)
            if draft is not None:
                window.append(draft)
                held += sum(len(image.data) for image in draft.draft.images if image.data is not None)
            if len(window) >= _WINDOW or held > _WINDOW_BYTES:
                self._add(window)
                window, held = [], 0
                on_progress(self.counts.records)
        self._add(window)
        described = {"name": name, "path": path, "sha256": sha256_file(path), "bytes": file_size(path)}
        return {**described, "records": self.counts.records - before, **({"header": header} if header else {})}

    def finish(self, described: Mapping[str, Any]) -> ImageSets:
        """Write the remaining annotations and the manifest. described: the import, for the manifest."""
        if self._said:
            self._write_annotations(len(self._said))
        used = [source for source in self._sources.values() if source.name in self._used]
        return self.writer.finish(used, {"import": described})

    def _write_annotations(self, count: int) -> None:
        # The writer takes only annotations of sets that are added with them; these may be of earlier sets.
        append_annotations(self.config.out, self._said[:count], f"imported_{self._parts:04d}")
        self._said, self._parts = self._said[count:], self._parts + 1

    def _source(self, root: str | None) -> Source:
        return files_source(
            self.collection,
            root,
            self.config.out,
            licence=self.config.licence or self.form.licence,
            homepage=self.config.homepage or self.form.homepage,
        )

    def _draft(self, record: Any, file: str, place: int) -> _Placed | None:
        where = f"{file} record {place}"
        if isinstance(record, Unread):
            self.counts.skip(record.reason, file, record.detail)
            return None
        try:
            if not isinstance(record, Mapping) and not (self.form.rows and isinstance(record, list)):
                raise RecordRejected("is no object", type(record).__name__)
            draft = self.form.parse(record)
            require_unicode(draft)
            for image in draft.images:
                if image.data is None and not image.name and not image.url:
                    raise RecordRejected("an image without a name")
                if image.name is not None and not is_inside(image.name):
                    raise RecordRejected("an image's name leaves the folder", f"{image.name!r:.80}")
        except RecordRejected as rejected:
            self.counts.skip(rejected.reason, where, rejected.detail)
            return None
        except RecursionError:
            self.counts.skip(TOO_DEEP, where, "")
            return None
        return _Placed(draft, file, place)

    def _add(self, window: Sequence[_Placed]) -> None:
        """Find the images of some records, and add their sets and annotations."""
        found = iter(self.finder.find([image for placed in window for image in placed.draft.images]))
        sets: list[ImageSet] = []
        annotations: list[Annotation] = []
        for placed in window:
            places = [next(found) for _ in placed.draft.images]
            broken = [
                place.reason
                for image, place in zip(placed.draft.images, places, strict=True)
                if image.data is not None and place.reason is not None
            ]
            if broken:
                self.counts.skip("a file inside the record is no image", placed.where, broken[0])
                continue
            missing = [
                f"{image.name or image.url}: {place.reason}"
                for image, place in zip(placed.draft.images, places, strict=True)
                if place.place is None
            ]
            if missing and self.config.only_complete:
                self.counts.skip("an image was not found", placed.where, missing[0])
                continue
            each, is_new = self._set(placed, places)
            if is_new:
                sets.append(each)
                self.counts.incomplete += bool(missing)
            own = self._annotations(placed, each.set_id)
            annotations += own
            self.counts.imported += 1
            self.counts.annotations += len(own)
            self.counts.unannotated += not own
        self.writer.add_sets(sets)
        self._said += annotations
        while len(self._said) >= PART_SETS:
            self._write_annotations(PART_SETS)

    def _set(self, placed: _Placed, places: Sequence[Found]) -> tuple[ImageSet, bool]:
        """(the set of a record's images, whether it is a new one)."""
        draft = placed.draft
        members = tuple(
            self._member(position, image, place)
            for position, (image, place) in enumerate(zip(draft.images, places, strict=True))
        )
        extra = dict(draft.extra)
        if not draft.said:
            extra = self._content(extra, placed)
        each = ImageSet("", self.collection, members, split=draft.split, concept=draft.concept, extra=extra)
        # Texts without images, and records without annotations, are sets of their own.
        key = None
        if members and draft.said:
            own = [member.to_json() for member in members]
            key = hashlib.sha256(json.dumps([own, draft.split, draft.concept], sort_keys=True).encode()).digest()[:16]
            if key in self._sets:
                return replace(each, set_id=self._sets[key]), False
        set_id = self._new_id(placed)
        if key is not None:
            self._sets[key] = set_id
        return replace(each, set_id=set_id), True

    def _new_id(self, placed: _Placed) -> str:
        known = placed.draft.record_id
        own = f"{self.collection}-{placed.place if known is None else known}"[:200]
        self._repeats[own] += 1
        name = own if self._repeats[own] == 1 else f"{own}~{self._repeats[own]}"
        while name in self._ids:  # a record's own id may end with ~2
            self._repeats[own] += 1
            name = f"{own}~{self._repeats[own]}"
        if name != own and known is not None:
            self.counts.repeated_ids += 1
        self._ids.add(name)
        return name

    def _member(self, position: int, image: NamedImage, found: Found) -> Member:
        place = found.place
        source = self._sources[place.root if place else None]
        self._used.add(source.name)
        member = Member(
            position,
            source.name,
            key=image.name,
            url=image.url,
            caption=image.caption,
            captions=image.captions,
            extra=without_nonfinite(image.extra),
        )
        if place is None:
            # By its path the image can be found later, in a folder that is named then.
            is_path = image.name is not None and "." in image.name.rpartition("/")[2]
            return replace(member, path=image.name if is_path else None)
        member = replace(member, sha256=place.sha256, bytes=place.size)
        if place.shard is None:
            return replace(member, path=place.path)
        key = place.path if image.data is not None else image.name
        return replace(member, key=key, shard=place.shard, offset=place.offset)

    def _annotations(self, placed: _Placed, set_id: str) -> list[Annotation]:
        person = placed.file.rpartition(".")[0] if self.form.person_a_file else None
        usual = self.config.annotator or (f"{self.collection} {person}" if person else self.collection)
        return [
            Annotation.make(
                set_id,
                said.kind,
                Annotator(said.annotator or usual),
                said.turns,
                self._content(said.content, placed),
            )
            for said in placed.draft.said
        ]

    def _content(self, own: Mapping[str, Any], placed: _Placed) -> dict[str, Any]:
        """The content with the record's place. A field of the record's own that is called `record` moves into it."""
        record = {"file": placed.file, "place": placed.place, **placed.draft.form}
        whole = {**own, "record": {**record, "own": own["record"]}} if "record" in own else {"record": record, **own}
        plain: dict[str, Any] = without_nonfinite(whole)
        return plain


def _tell(on_progress: Callable[[int, int], None], files: int, records: int) -> None:
    on_progress(records, files)


def _file_names(files: Sequence[str]) -> list[str]:
    """The files' names without their folders, or whole paths where two have one name."""
    names = [path.rstrip("/").rpartition("/")[2] for path in files]
    return names if len(set(names)) == len(names) else list(files)


def _names_in(form: Format, files: Sequence[str]) -> Iterator[str]:
    """The names of all images in the files."""
    for path in files:
        for record in form.open(path)[1]:
            if isinstance(record, Unread):
                continue
            try:
                yield from (image.name for image in form.parse(record).images if image.name)
            except (RecordRejected, RecursionError, AttributeError, TypeError):
                continue
