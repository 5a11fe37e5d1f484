"""Compiles and imports every module, and runs every command once on a small corpus: does this Python version work?

Run as: python -m tests.smoke      (make smoke)
"""

from __future__ import annotations

import csv
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import warnings
from pathlib import Path

from jobs.cli import COMMANDS
from scenes.coco_files import write_coco
from scenes.held_out import write_tasks
from scenes.held_out.pair_tasks import write_pair_tasks
from scenes.tars import write_split
from tests.conftest import write_tiny_clip
from tests.index.web import serve

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("index", "retrieval", "customize", "mining", "jobs", "scenes")
CLIPMINE = str(Path(sys.executable).parent / "clipmine")
MODEL = str(ROOT / "scenes" / "models" / "clip")
LLAVA = str(ROOT / "scenes" / "models" / "llava")


def import_everything() -> int:
    """Compile each module of the floors, warnings being errors, and import it; return how many there are."""
    files = [ROOT / "clipmine.py", *(file for floor in FLOORS for file in sorted((ROOT / floor).rglob("*.py")))]
    for file in files:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what a newer Python will refuse, this one warns of
            compile(file.read_text(encoding="utf-8"), str(file), "exec")
        importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    return len(files)


def run(command: str, *arguments: object) -> None:
    """Run a command to its end; its output goes to ours. CalledProcessError when it fails."""
    print(f"$ clipmine {command} {' '.join(map(str, arguments))}", flush=True)
    subprocess.run([CLIPMINE, command, *map(str, arguments)], check=True)


def serve_store(store: str) -> None:
    """Start the service, ask whether it is ready, and stop it."""
    print(f"$ clipmine serve {store}", flush=True)
    service = subprocess.Popen([CLIPMINE, "serve", store, "--port", "0"], stderr=subprocess.PIPE, text=True)
    assert service.stderr is not None
    address = next(found[0] for line in service.stderr if (found := re.search(r"http://[^/\s]+", line)))
    with urllib.request.urlopen(f"{address}/readyz", timeout=60) as answer:
        assert answer.status == 200
    service.send_signal(signal.SIGTERM)
    service.communicate(timeout=60)
    assert service.returncode == -signal.SIGTERM, service.returncode


def run_every_command(folder: Path) -> None:
    """Each command once, each on what those before it wrote."""
    store, selection, pairs = (str(folder / name) for name in ("store", "selection", "pairs"))
    concepts = folder / "concepts.txt"
    concepts.write_text("dog\ntree\nguitar\n")
    write_split("corpus", folder / "corpus", 200, shard_size=100, workers=1)
    [task] = write_tasks(folder / "tasks", types=("dog", "tree"), per_type=4, shots=4, kinds=("types",))

    run("plan", "--rows", "400M", "--dim", 512, "--memory", "64GB")
    run("embed", folder / "corpus", "--model-dir", MODEL, "--out", store)
    run("index", store)
    run("duplicates", store)
    run("info", store)
    run("retrieve", store, "--concepts", concepts, "-k", 10, "--out", selection)
    run("export", selection, "--out", folder / "export")
    run("mine", store, "--strategy", "overlap:0.5,random:0.5", "--sets", 20, "--out", pairs)
    said = [{"from": "human", "value": "What is a pair?"}, {"from": "gpt", "value": "Two images."}]
    (folder / "llava.json").write_text(json.dumps([{"id": "0", "conversations": said}]))
    run("import", folder / "llava.json", "--format", "llava", "--out", folder / "imported")
    run("concat", pairs, folder / "imported", "--out", folder / "joined")
    run("info", folder / "joined")
    run("annotate", pairs)
    source = f"{pairs},cad=commonalities+differences+choice"
    tuned = ("--steps", 2, "--batch-size", 4, "--device", "cpu", "--out", folder / "tuned")
    run("tune", "--stage", "cad", "--model", LLAVA, "--data", source, *tuned)
    write_pair_tasks(folder / "pair_tasks", 2)
    measured = ("--limit", 2, "--device", "cpu", "--out", folder / "answers")
    run("evaluate", folder / "tuned", "--task", "bison", "--data", folder / "pair_tasks", *measured)
    run("customize", store, selection, "--steps", 2, "--batch-size", 8, "--augment", "none", "--out", folder / "model")
    run("evaluate", folder / "model", "--task", task, "--seeds", 1, "--out", folder / "evaluation")
    write_coco("corpus", folder / "boxes", 8)
    (folder / "resnet").mkdir()
    resnet = write_tiny_clip(folder / "resnet", image_size=64, layers=[1, 1, 1, 1], width=16, patch_size=None)
    boxes = ("--annotations", folder / "boxes" / "boxes.json", "--images", folder / "boxes" / "images")
    small = ("--steps", 2, "--batch-size", 2, "--sizes", 96, "--anchors", "16,32", "--device", "cpu")
    run("detect", resnet, *boxes, "--split", folder / "boxes" / "split.json", *small, "--out", folder / "detector")
    serve_store(store)
    with serve() as web:
        with (folder / "table.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["url", "caption"])
            writer.writerows([web.url(f"/ok/{number}.jpg"), f"color number {number}"] for number in range(6))
        run("download", folder / "table.csv", "--out", folder / "images")
        run("embed", folder / "images", "--model-dir", MODEL, "--out", folder / "web_store")
        run("retrieve", folder / "web_store", "--concepts", concepts, "-k", 2, "--out", folder / "web_selection")
        run("fetch", folder / "web_selection")
    (folder / "rows.txt").write_text("3\n5\n")
    run("forget", store, "--rows", folder / "rows.txt")
    run("compact", store)
    run("verify", store)
    for part in ("img_emb", "text_emb", "metadata"):
        shutil.copytree(Path(store) / part, folder / "foreign" / part)
    run("adopt", folder / "foreign", "--model-dir", MODEL)
    run("demo", "--scenes", 300, "--executor", "local", "--out", folder / "demo")


def main() -> int:
    print(f"Python {sys.version.split()[0]}: {import_everything()} modules compiled and imported")
    source = Path(__file__).read_text()
    untried = [name for name in COMMANDS if f'run("{name}"' not in source and f"clipmine {name}" not in source]
    assert not untried, f"commands that nothing runs: {untried}"
    with tempfile.TemporaryDirectory() as folder:
        run_every_command(Path(folder))
    print(f"Python {sys.version.split()[0]}: all {len(COMMANDS)} commands ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
