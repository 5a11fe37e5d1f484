"""The files of docs/cluster/ (manifests, scripts, commands, versions), and the figures of docs/cluster.md."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.cli import load_command
from tests.test_docs import ROOT, blocks, wrong_commands

FILES = ROOT / "docs" / "cluster"
PAGE = (ROOT / "docs" / "cluster.md").read_text()
SCRIPTS = sorted(FILES.glob("*.sh"))
BIN = Path(sys.executable).parent
# A program that writes its arguments as JSON into the file RECORD.
RECORDER = f"#!{sys.executable}\nimport json, os, sys\njson.dump(sys.argv[1:], open(os.environ['RECORD'], 'w'))\n"
# Slurm's srun on one machine: runs the command once for each task, and passes signals on.
SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys
words, options = sys.argv[1:], dict()
while words and words[0].startswith("--"):
    name, _, value = words.pop(0).partition("=")
    options[name] = value
open(os.environ["RECORD"], "a").write(" ".join(sys.argv[1:]) + chr(10))
tasks = [subprocess.Popen(words, start_new_session=True) for _ in range(int(options.get("--ntasks", 1)))]
signal.signal(signal.SIGTERM, lambda *_: [task.terminate() for task in tasks])
sys.exit(max(abs(task.wait()) for task in tasks))
"""


def manifests(name: str) -> list[dict[str, Any]]:
    """The YAML documents of a file."""
    return list(yaml.safe_load_all((FILES / name).read_text()))


def locked(package: str) -> str:
    """A package's version in requirements.lock."""
    found = re.search(rf"^{package}==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert found is not None
    return found.group(1)


def of_kind(kind: str) -> dict[str, Any]:
    return next(each for file in FILES.glob("kuberay-*.yaml") for each in manifests(file.name) if each["kind"] == kind)


def containers() -> list[dict[str, Any]]:
    """The containers of the Ray cluster's pods, the head's first."""
    spec = of_kind("RayCluster")["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [group["template"]["spec"]["containers"][0] for group in groups]


def test_the_page_explains_every_file() -> None:
    for file in FILES.iterdir():
        assert f"cluster/{file.name}" in PAGE, file.name


@pytest.mark.parametrize("file", [*sorted(FILES.iterdir()), ROOT / "docs" / "cluster.md"], ids=lambda file: file.name)
def test_every_command_can_be_parsed(file: Path) -> None:
    """Lines of a script, commands in comments, and what is submitted: with their backslashes and comment signs."""
    text = "\n".join(blocks(PAGE)) if file.suffix == ".md" else re.sub(r"^# ?", "", file.read_text(), flags=re.M)
    found = list(commands(text))
    assert wrong_commands("".join(f"```\n{line}\n```\n" for line in found)) == []
    assert found or file.name in ("Dockerfile", "spark-environment.sh", "kuberay-cluster.yaml")


COMMAND = re.compile(
    r"(?:^|\s|-- )(?:clipmine|docs/cluster/(?:dataproc|emr|emr-serverless)\.sh)"
    r" ((?:download|embed|export|index|mine|retrieve) .*)"
)


def commands(text: str) -> Iterator[str]:
    """`clipmine ...` lines of a file without comment signs; a Spark script's arguments are those of `clipmine`."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if found := COMMAND.search(line):
            yield f"clipmine {found.group(1).partition('   #')[0].strip()}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_every_script_is_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()


def test_versions_are_those_that_are_tested() -> None:
    image, ray = (FILES / "Dockerfile").read_text(), locked("ray")
    assert re.findall(r"ray\[default\]==([\d.]+\d)", image) == [ray]
    assert of_kind("RayCluster")["spec"]["rayVersion"] == ray
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least, beyond = (
        tuple(map(int, version.split("."))) for version in re.findall(r"3\.\d+", project["requires-python"])
    )
    environment = (FILES / "spark-environment.sh").read_text()
    for named in [*re.findall(r"FROM python:(3\.\d+)", image), *re.findall(r" python=(3\.\d+)", environment)]:
        assert least <= tuple(map(int, named.split("."))) < beyond
    for extras in re.findall(r"(?:/src|\.)\[([\w,]+)\]", image + environment):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_kuberay_nodes_share_an_image_a_volume_and_the_keys() -> None:
    claim = of_kind("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert len(containers()) == 3
    for each in containers():
        assert each["image"] == containers()[0]["image"] == manifests("ray-up.yaml")[0]["docker"]["image"]
        assert each["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]
        assert each["envFrom"] == [{"secretRef": {"name": "clipmine-s3", "optional": True}}]
        assert each["resources"]["requests"] == each["resources"]["limits"]
    cluster = of_kind("RayCluster")
    for group in [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]:
        (volume,) = group["template"]["spec"]["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "create secret generic clipmine-s3" in (FILES / "kuberay-cluster.yaml").read_text()


def test_kuberay_heads_have_no_cores_and_groups_grow() -> None:
    cluster, job = of_kind("RayCluster"), of_kind("RayJob")
    assert cluster["apiVersion"] == job["apiVersion"] == "ray.io/v1"
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["spec"]["enableInTreeAutoscaling"] is True
    groups = {group["groupName"]: group for group in cluster["spec"]["workerGroupSpecs"]}
    assert groups["cpu"]["minReplicas"] < groups["cpu"]["maxReplicas"]
    assert 0 == groups["gpu"]["minReplicas"] < groups["gpu"]["maxReplicas"]
    assert containers()[2]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    words = shlex.split(job["spec"]["entrypoint"])
    command = load_command(words[1])
    parsed = command.make_context(words[1], words[2:]).params
    assert words[0] == "clipmine"
    assert (parsed["executor"], parsed["workers"]) == ("ray", groups["gpu"]["maxReplicas"])


def test_ray_accepts_the_configuration_of_ray_up() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = manifests("ray-up.yaml")
    prepared = prepare_config(config)
    validate_config(prepared)
    types = prepared["available_node_types"]
    assert types[prepared["head_node_type"]]["resources"] == {"CPU": 0}
    assert types["gpu"]["min_workers"] == 0
    assert not any("install" in line for line in prepared["head_setup_commands"] + prepared["worker_setup_commands"])
    with pytest.raises(Exception, match="max_nodes"):
        validate_config({**prepared, "max_nodes": 3})


@pytest.mark.parametrize(
    ("script", "program", "variables"),
    [
        ("dataproc.sh", "gcloud", {"REGION": "here", "CLUSTER": "mine"}),
        ("emr.sh", "aws", {"CLUSTER_ID": "j-1"}),
        ("emr-serverless.sh", "aws", {"APPLICATION_ID": "a", "ROLE_ARN": "arn"}),
    ],
)
def test_spark_scripts_pass_the_command_and_the_files(
    script: str, program: str, variables: dict[str, str], tmp_path: Path
) -> None:
    environment = {**os.environ, **variables, "FILES": "x://b/f", "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    environment["RECORD"] = str(tmp_path / "arguments.json")
    (tmp_path / program).write_text(RECORDER)
    (tmp_path / program).chmod(0o755)
    command = ["index", "x://b/a store, large", "--executor", "spark"]
    subprocess.run([str(FILES / script), *command], check=True, env=environment)
    given = json.loads((tmp_path / "arguments.json").read_text())
    if script == "dataproc.sh":
        sent, launched = given[: given.index("--")], given[given.index("--") + 1 :]
        settings = sent[sent.index("--properties") + 1].split(",")
        assert given[:4] == ["dataproc", "jobs", "submit", "pyspark"]
        assert "spark.submit.deployMode=cluster" in settings
    elif script == "emr.sh":
        (step,) = json.loads(given[given.index("--steps") + 1])
        place = step["Args"].index("x://b/f/clipmine-spark.py")
        sent, launched = step["Args"][:place], step["Args"][place + 1 :]
        settings = [value for name, value in pairwise(sent) if name == "--conf"]
        assert sent[:5] == ["spark-submit", "--master", "yarn", "--deploy-mode", "cluster"]
    else:
        submit = json.loads(given[given.index("--job-driver") + 1])["sparkSubmit"]
        sent, launched = submit["sparkSubmitParameters"].split(), submit["entryPointArguments"]
        settings = [value for name, value in pairwise(sent) if name == "--conf"]
        assert submit["entryPoint"] == "x://b/f/clipmine-spark.py"
    assert launched == command
    assert sent[sent.index("--py-files") + 1] == "x://b/f/clipmine.zip"
    assert sent[sent.index("--archives") + 1] == "x://b/f/environment.tar.gz#environment"
    assert any(setting.endswith("=./environment/bin/python") for setting in settings)
    assert all(re.fullmatch(r"spark(\.[\w-]+)+=[\w./]+", setting) for setting in settings)
    wrong = {**environment, "FILES": ""}
    assert subprocess.run([str(FILES / script), *command], env=wrong, capture_output=True, check=False).returncode != 0


def rows_of(title: str) -> dict[str, list[str]]:
    """The cells of a table of the page's last recipe by the first ones; `title` is the table's first cell."""
    table = PAGE.partition("## 400 million rows")[2].partition(f"\n| {title} |")[2].partition("\n\n")[0]
    rows, group = {}, ""
    for line in table.splitlines()[2:]:
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        group = first or group
        rows[f"{group}: {cells[0]}" if title == "step" else first] = cells[1:] if title == "step" else cells
    return rows


def test_the_recipe_for_400_million_rows_follows_from_its_inputs() -> None:
    given = [float(re.sub(r"[^\d.]", "", cells[0])) for cells in rows_of("input").values()]
    urls, network, stored, small, large, nodes, gpus, node_hour, gpu_hour, month = given
    # Dimensions, images/s, bytes of the index, core hours to build it and to retrieve.
    models = [(512, small, 518.4e9, 44.4, 7.9), (768, large, 416e9, 66.7, 0)]
    download = 400e6 / urls / 3600
    expected = {
        "download: hours on all CPU nodes": [f"{download / nodes:.1f}", "the same tars"],
        "download: node hours, dollars": [f"{download:.0f}, {download * node_hour:.0f}", ""],
        "download: over the network, in all and a second": [
            f"{400e6 * network / 1e9:.0f} TB, {urls * nodes * network / 1e3:.0f} MB",
            "",
        ],
        "download: tars: number, size": [f"40,000 or more, {400e6 * stored / 1e9:.0f} TB", ""],
        "embed: GPU hours, dollars": [
            f"{400e6 / rate / 3600:.0f}, {400e6 / rate / 3600 * gpu_hour:.0f}" for _, rate, *_ in models
        ],
        "embed: hours on all GPUs": [f"{400e6 / rate / 3600 / gpus:.1f}" for _, rate, *_ in models],
        "embed: read from the shared disk a second": [f"{rate * gpus * stored / 1e3:.0f} MB" for _, rate, *_ in models],
    }
    totals = [(400e6 * stored * 1e3 + 400e6 * dim * 2 * 2 + index) / 1e12 for dim, _, index, *_ in models]
    expected["shared disk: tars, vectors, index"] = [f"{total:.1f} TB" for total in totals]
    expected["shared disk: dollars a month"] = [f"{total * month:.0f}" for total in totals]
    small_sum, large_sum = (
        download * node_hour + 400e6 / rate / 3600 * gpu_hour + (build + search) / 16 * node_hour
        for _, rate, _, build, search in models
    )
    expected["all steps: dollars, without the disk"] = [f"{small_sum:.0f}", f"{large_sum:,.0f}, without retrieval"]
    shown = rows_of("step")
    assert {name: shown[name][:2] for name in expected} == expected


@pytest.mark.parametrize(("column", "dim"), [(0, 512), (1, 768)])
def test_the_recipe_for_400_million_rows_shows_what_plan_says(column: int, dim: int) -> None:
    from click.testing import CliRunner

    shown = {name: cells[column] for name, cells in rows_of("step").items()}
    asked = ["--rows", "400M", "--dim", str(dim), "--memory", "600GB", "--cores", "128"]
    said = CliRunner().invoke(load_command("plan"), asked, catch_exceptions=False).output
    size, codec = shown["index of images: size, codec"].split(", ")
    hours = shown["index of images: core hours"]
    assert f"embeddings        {shown['embed: vectors of images and captions']} fp16" in said
    assert re.search(rf"index, {codec} +{size} a modality \(chosen\)", said)
    assert f"memory to build   {shown['index of images: memory a shard that is built']} for each shard" in said
    assert f"time to build     {hours} h of one core" in said
    prices = [float(cells[0]) for name, cells in rows_of("input").items() if name == "dollars an hour and CPU node"]
    in_all, dollars = f"{float(hours) / 128:.2f}", f"{float(hours) / 16 * prices[0]:.0f}"
    assert shown["index of images: hours on all CPU nodes, dollars"] == f"{in_all}, {dollars}"


def test_the_slurm_script_runs_a_command_on_its_own_ray_and_ends_it(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    job = 10_000_000 + os.getpid()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"SLURM_JOB_ID": str(job), "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "1"}
    environment |= {"SLURMD_NODENAME": "first", "CLIPMINE_ENV": str(BIN.parent), "RECORD": str(tmp_path / "sruns")}
    environment |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = ["clipmine", "embed", str(small_corpus), "--out", str(tmp_path / "store"), "--model-dir"]
    command += [str(tiny_clip_dir), "--device", "cpu", "--executor", "ray"]
    done = subprocess.run(
        [str(FILES / "slurm.sh"), *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + (tmp_path / f"ray-{job}.log").read_text()
    assert (tmp_path / "store" / "manifest.json").exists()
    head, others, last = (tmp_path / "sruns").read_text().splitlines()
    assert "--nodelist=first" in head
    assert "ray start --head" in head
    assert "--nodes=1 --ntasks=1 --exclude=first" in others
    assert last.endswith(f"rm -rf /tmp/ray-{job}")
    assert not Path(f"/tmp/ray-{job}").exists()
    assert processes_with(f"/tmp/ray-{job}") == []


def processes_with(word: str) -> list[str]:
    """The command lines of this machine that hold a word."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word in (line := file.read_text(errors="replace").replace("\0", " ")):
                found.append(line)
    return found
