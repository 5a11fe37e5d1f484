"""Folders that join mined pairs of a store with foreign pairs and LLaVA's records, for the tests of exports."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mining.sets.annotation import Annotation, Annotator, Turn, marked_parts
from mining.sets.concat import concat_image_sets
from mining.sets.image_set import ImageSet, Member
from mining.sets.image_sets import ImageSets
from mining.sets.importers import ImportConfig, import_sets
from mining.sets.sources import files_source, store_source
from mining.sets.store_members import members_table
from mining.sets.write_sets import ImageSetsWriter
from tests.mining.made_sets import sets_table, write_sets
from tests.retrieval.stores import jpeg, make_store, random_unit

CAD, LLAVA, MIXTRAL = Annotator("cad-inst"), Annotator("llava-665k"), Annotator("mixtral-8x7b", prompt_hash="3f")


def says(set_id: str, kind: str, who: Annotator, *texts: str, system: str | None = None) -> Annotation:
    """An annotation whose turns are question and answer in turn; `<image>` is the next image."""
    turns, shown = [Turn("system", (system,))] if system else [], 0
    for number, text in enumerate(texts):
        parts = marked_parts(text, shown)
        shown += sum(isinstance(part, int) for part in parts)
        turns.append(Turn(("user", "assistant")[number % 2], parts))
    return Annotation.make(set_id, kind, who, turns)


def write_mixed(folder: Path, *, mined: int = 4, each: int = 3) -> ImageSets:
    """FOLDER/mixed: `mined` pairs of a store, and `each` foreign pairs, records of one image and records of text.

    The mined pairs have a comparison each, the first of them two; the foreign pairs stand left and right.
    """
    store = make_store(folder, random_unit(2 * mined))
    out, root = folder / "mixed", folder / "photos"
    (root / "coco").mkdir(parents=True)
    for number in range(3 * each):
        (root / f"coco/{number}.jpg").write_bytes(jpeg(100 + number))
    stored, files = store_source(store, out), files_source("photos", root, out, licence="CC-BY-4.0")
    rows = [[2 * number, 2 * number + 1] for number in range(mined)]
    writer = ImageSetsWriter(out)
    own = sets_table(rows, stored.name)
    writer.add(own, members_table(store, stored.name, own["set_id"], pa.array(rows, pa.list_(pa.int64()))))

    def foreign(numbers: list[int]) -> tuple[Member, ...]:
        return tuple(
            Member(
                position,
                files.name,
                path=f"coco/{number}.jpg",
                sha256=hashlib.sha256(jpeg(100 + number)).hexdigest(),
            )
            for position, number in enumerate(numbers)
        )

    sets = []
    for number in range(each):
        name = f"cad/{number}"
        said = says(name, "conversation", CAD, "Left <image>, right <image>: what differs?", f"Nothing {number}.")
        sets.append(ImageSet(name, "cad-inst", foreign([2 * number, 2 * number + 1]), annotations=(said,)))
        name = f"llava/{number}"
        texts = ("<image>\nWhat is this?", "A <s>cat</s>.", "And its colour?", "Grey.")
        said = says(name, "conversation", LLAVA, *texts, system="Be brief.")
        sets.append(ImageSet(name, "llava-665k", foreign([2 * each + number]), annotations=(said,)))
        name = f"text/{number}"
        said = says(name, "conversation", LLAVA, f"What is {number} + 1?", f"{number + 1}")
        sets.append(ImageSet(name, "llava-665k", (), annotations=(said,)))
    writer.add_sets(sets)
    written = writer.finish([stored, files], {})
    comparisons = [
        says(set_id, "comparison", MIXTRAL, "Compare them.", f"Both are pictures, {set_id}.")
        for set_id in own["set_id"].to_pylist()
    ]
    written.add_annotations([*comparisons, says(own["set_id"][0].as_py(), "question", MIXTRAL, "Same?", "No.")], "one")
    return ImageSets.open(out)


def write_joined(folder: Path, *, each: int = 4) -> ImageSets:
    """FOLDER/joined: a mined folder, an imported CaD-Inst file and LLaVA's records, joined as a user does.

    The mined pairs have a comparison each; every other record of LLaVA's is text alone.
    """
    mined = write_sets(folder, [[2 * number, 2 * number + 1] for number in range(each)], images=2 * each)
    mined.add_annotations([says(pair.set_id, "comparison", MIXTRAL, "Compare.", "Alike.") for pair in mined], "one")
    (folder / "photos").mkdir()
    for number in range(3 * each):
        (folder / f"photos/{number}.jpg").write_bytes(jpeg(100 + number))

    def talk(question: str, answer: str) -> list[dict[str, str]]:
        return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]

    asks = "Image 1: <image>\nImage 2: <image>\nWhat differs?"
    cad = [
        {
            "id": f"8_{number}_8_{number + 1}",
            "image": str([f"{2 * number}.jpg", f"{2 * number + 1}.jpg"]),  # a list, written as a text
            "conversations": talk(asks, f"Differences: {number}."),
            "clip_sim_score": 0.5,
        }
        for number in range(each)
    ]
    pq.write_table(pa.Table.from_pylist(cad), folder / "cad.parquet")
    llava = [
        {
            "id": f"l{number}",
            **({"image": f"{2 * each + number}.jpg"} if number % 2 else {}),
            "conversations": talk("<image>\nWhat is it?" if number % 2 else "What is 1 + 1?", "A <s>cat</s>."),
        }
        for number in range(each)
    ]
    (folder / "llava.json").write_text(json.dumps(llava))
    photos = (str(folder / "photos"),)
    for file, form in (("cad.parquet", "cad-inst"), ("llava.json", "llava")):
        import_sets(ImportConfig((str(folder / file),), form, str(folder / form), photos))
    return concat_image_sets([folder / "pairs", folder / "cad-inst", folder / "llava"], folder / "joined")
