"""Import and export of foreign collections: are the records the same, how fast, and in how much memory?

Run as: python -m benchmarks.import_round_trip [--quick] [FOLDER]

FOLDER holds real files (or their first records) of the collections, told apart by their names; each is imported,
written back, and compared with the original field by field. Without it only the made file is measured: a LLaVA list of
665,000 conversations, as many as LLaVA-1.5's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORDS, QUICK = 665_000, 20_000
TARGETS = {"records that come back": 1.0, "records/s": 2_000.0, "memory in GB": 2.0}
# Patterns of file names, with the format and the columns of each; the first that fits counts.
KNOWN = (
    ("cad_vi_*", "cad-eval", ""),
    ("CaD_QA*", "cad-eval", ""),
    ("cola_multiobjects*", "table", "image=0,caption=1,image=2,caption=3"),
    ("llava_bench*questions*", "table", "id=question_id,image=image,question=text"),
    ("llava_bench*answer*", "table", "id=question_id,answer=text"),
    ("llava_caps_boxes*", "table", "id=id,image=image,caption=captions"),
    ("llava_v1_5*", "llava", ""),
    ("llava_instruct*", "llava", ""),
    ("nlvr2*", "nlvr2", ""),
    ("spot_the_diff*", "spot-the-diff", ""),
    ("subtle_diff*", "subtle-diff", ""),
    ("birds-to-words*", "birds-to-words", ""),
    ("*_instructions*.json", "mimic-it", ""),
    ("*story-in-sequence*", "vist", ""),
    ("phase[12]_*.parquet", "cad-inst", ""),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} made records")
    parser.add_argument("--records", type=int, help=f"made records; default: {RECORDS:,}")
    parser.add_argument("folder", nargs="?", help="real files of the collections")
    args = parser.parse_args()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores")
    figures: dict[str, Any] = {}
    records = same = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(sorted(Path(args.folder).iterdir()) if args.folder else ()):
            found = next(((form, columns) for pattern, form, columns in KNOWN if path.match(pattern)), None)
            if found is None:
                print(f"{path.name}: of no known name")
                continue
            counts = round_trip(path, *found, Path(folder) / str(number))
            print(
                f"{path.name}: {found[0]}, {counts['sets']} sets, {counts['same']} of {counts['records']} records equal"
            )
            figures[path.name] = counts
            records, same = records + counts["records"], same + counts["same"]
        made = measure(args.records or (QUICK if args.quick else RECORDS), Path(folder))
    figures |= {"records of real files": records, "of these equal": same, "made": made}
    share = (same + made["same"]) / (records + made["records"])
    figures["records that come back"] = share
    holds = (
        share >= TARGETS["records that come back"]
        and made["records/s"] >= TARGETS["records/s"]
        and made["memory in GB"] <= TARGETS["memory in GB"]
    )
    print(json.dumps({"name": "import_round_trip", "figures": figures, "targets": TARGETS, "holds": holds}))
    return 0 if holds else 1


def round_trip(path: Path, form: str, columns: str, folder: Path) -> dict[str, int]:
    """Import a file, write its records back, and compare them with the original."""
    from mining.sets.importers import ImportConfig, import_sets, write_records
    from mining.sets.importers.table import parse_mapping

    mapping = parse_mapping(columns) if columns else ()
    sets = import_sets(ImportConfig((str(path),), form, str(folder / "pairs"), mapping=mapping))
    again = folder / f"again{path.suffix}"
    write_records(sets, str(again))
    before, after = plain_records(path), plain_records(again)
    # As texts, so that the order of the fields and the types of numbers count too.
    same = sum(json.dumps(one) == json.dumps(other) for one, other in zip(before, after, strict=False))
    return {"records": len(before), "same": same if len(after) == len(before) else 0, "sets": len(sets)}


def plain_records(path: Path) -> list[Any]:
    """The records of a file by the plainest reader there is."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows: list[Any] = pq.read_table(path).to_pylist()
        return rows
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".tsv":
        return [line.split("\t") for line in text.splitlines()]
    try:
        whole = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(whole, dict):
        return list(whole["annotations"]) if "annotations" in whole else list(whole["data"].items())
    return list(whole)


def measure(count: int, folder: Path) -> dict[str, float]:
    """Import and write back `count` made records of LLaVA's form, a third of which share their image with others."""
    from mining.sets.importers import ImportConfig, export_records, import_sets

    path = folder / "made.json"
    with path.open("w", encoding="utf-8") as file:
        for number, record in enumerate(made_records(count)):
            file.write(("[" if number == 0 else ",\n") + json.dumps(record))
        file.write("]\n")
    started = time.monotonic()
    sets = import_sets(ImportConfig((str(path),), "llava", str(folder / "made")))
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    [back] = export_records(sets).values()
    same = sum(json.dumps(one) == json.dumps(other) for one, other in zip(made_records(count), back, strict=True))
    megabytes = path.stat().st_size / 1e6
    print(f"made: {count:,} records, {megabytes:,.0f} MB, {len(sets):,} sets: {seconds:.1f} s, {memory:.2f} GB")
    return {
        "records": count,
        "same": same,
        "MB": round(megabytes),
        "records/s": round(count / seconds),
        "memory in GB": round(memory, 2),
    }


def made_records(count: int) -> Iterator[dict[str, Any]]:
    """Yield records of LLaVA's form with two questions and answers of 60 words."""
    text = "a red bus stands on the left of two people who look at the old clock of the station"
    words = text.split()
    for number in range(count):
        said = " ".join(words[(number * 7 + place * 5) % len(words)] for place in range(60))
        turns = [
            {"from": "human", "value": f"<image>\nWhat is in picture {number}?"},
            {"from": "gpt", "value": said},
            {"from": "human", "value": "Where is the bus?"},
            {"from": "gpt", "value": said[::-1]},
        ]
        image = f"coco/train2017/{number * 2 // 3:012d}.jpg"
        yield {"id": f"{number:09d}", "image": image, "conversations": turns}


if __name__ == "__main__":
    raise SystemExit(main())
