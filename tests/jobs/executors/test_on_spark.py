"""The Spark executor: finding Java, and the settings of a Spark that is started here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark import TaskContext
from pyspark.resource import ResourceInformation

from index.errors import MissingDependency
from jobs.executors.on_spark import _configuration, check_java, open_spark, use_own_gpu, zip_packages


def fake_java(folder: Path, version: str) -> Path:
    """A JAVA_HOME whose Java says that it is of this version."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return folder


def test_no_java_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(MissingDependency, match=r"Java 17 or newer.*apt-get install openjdk-17") as caught:
        check_java()
    assert caught.value.exit_code == 2
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="needs java, which is not installed"):
        check_java()


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.2"])
def test_an_old_java_is_refused(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "java", version)))
    with pytest.raises(MissingDependency, match="is too old"):
        check_java()


@pytest.mark.parametrize("version", ["17.0.1", "21", "25-ea"])
def test_a_java_that_spark_runs_on_is_accepted(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "java", version)))
    check_java()


def test_workers_and_threads_shape_a_spark_that_is_started_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYSPARK_GATEWAY_PORT", "PYSPARK_SUBMIT_ARGS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("jobs.executors.on_spark.usable_cores", lambda: 8)
    conf = _configuration(workers=2, threads=3)
    assert conf.get("spark.master") == "local[6,3]"
    assert conf.get("spark.task.cpus") == "3"
    assert conf.get("spark.executorEnv.OMP_NUM_THREADS") == "3"


def test_a_submitted_job_keeps_its_master() -> None:
    # In a process of its own: here the tests' Spark has set its master for all configurations.
    program = (
        "from jobs.executors.on_spark import _configuration as made; print(made(2, 1).get('spark.master', 'none'))"
    )
    submitted = {**os.environ, "PYSPARK_SUBMIT_ARGS": "--master spark://elsewhere:7077 pyspark-shell"}
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_")}
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=submitted).stdout == "none\n"
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=alone).stdout.startswith("local[")


def test_an_open_session_is_used_and_stays_open(spark_up: None) -> None:
    with open_spark(workers=5, threads=5) as context:
        number = context.parallelize(range(4)).sum()
    assert number == 6
    with open_spark(workers=1, threads=1) as again:
        assert again is context
    assert os.environ["PYSPARK_PYTHON"]


def test_a_worker_without_our_packages_imports_them_from_the_zip_with_their_data(tmp_path: Path) -> None:
    archive = tmp_path / "clipmine.zip"
    zip_packages(archive)
    program = (
        f"import sys; sys.path.insert(0, {str(archive)!r}); from mining.text import nouns, word_lists; "
        "print(word_lists.__file__); print(nouns.noun_extractor('lexicon')(['two dogs on a tennis court']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    place, found = done.stdout.splitlines()
    assert place.startswith(str(archive))
    assert "dog" in found


def test_the_zip_says_where_a_module_has_moved(tmp_path: Path) -> None:
    archive = tmp_path / "clipmine.zip"
    zip_packages(archive)
    program = f"import sys; sys.path.insert(0, {str(archive)!r}); import index.hnsw"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "index.hnsw has moved: import from index.graph.hnsw instead" in done.stderr


def test_one_spark_serves_the_stages_of_a_command_and_another_size_replaces_it() -> None:
    """In a process of its own: the tests share an open session."""
    program = """
from jobs.executors.execute import execute
from jobs.executors.on_spark import _kept
from tests.jobs.arithmetic import Number, Trouble, square
seen = []
for workers in (1, 1, 2):
    results = execute("spark", square, [Number(3)], Trouble(), workers=workers, threads=1, shared=None, label="square")
    seen.append((results[0].rows, _kept.context.applicationId, _kept.context.master))
assert [rows for rows, _, _ in seen] == [9, 9, 9]
assert seen[0] == seen[1] != seen[2], seen
assert [master for _, _, master in seen[1:]] == ["local[1,3]", "local[2,3]"], seen
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_a_task_sees_the_gpu_that_spark_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Task:
        def __init__(self, address: str) -> None:
            self.address = address

        def resources(self) -> dict[str, ResourceInformation]:
            return {"gpu": ResourceInformation("gpu", [self.address])}

    for name in ("CUDA_VISIBLE_DEVICES", "CLIPMINE_SPARK_GPU"):
        monkeypatch.setenv(name, "")
    for address in ("3", "1"):  # a process keeps the GPU of its first task, where its model is
        monkeypatch.setattr(TaskContext, "get", lambda address=address: Task(address))
        use_own_gpu()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
