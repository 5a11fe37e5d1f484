"""Finding or starting Spark: the session that is open already, spark-submit's master, or this machine."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from index.errors import ClipmineError, MissingDependency
from jobs.executors.cores import THREAD_VARIABLES, share_cores, usable_cores
from jobs.executors.work import ATTEMPTS, ROOT_PACKAGES

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext

JAVA_VERSION = 17  # the oldest that Spark 4 runs on


@contextmanager
def open_spark(workers: int | None, threads: int | None) -> Iterator[SparkContext]:
    """The Spark that is up already, else one started here and stopped at the end (its Java stays for the next).

    Raises:
        MissingDependency: pyspark is not installed, or no Java of version 17 or newer is found.
        ClipmineError: Spark did not start; the message carries the last line of its log.
    """
    try:
        from pyspark import SparkContext
    except ImportError:
        raise MissingDependency("pyspark", "--executor spark", extra="spark") from None
    running = SparkContext._active_spark_context
    if running is not None:
        yield running
        return
    check_java()
    context = _start(workers, threads)
    try:
        if not str(context.master).startswith("local"):
            _send_packages(context)
        yield context
    finally:
        context.stop()


def check_java() -> None:
    """Refuse to go on without a Java that Spark runs on: its own message for that is a page of stack trace."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    purpose = f"--executor spark (Spark runs on Java {JAVA_VERSION} or newer)"
    install = f"apt-get install openjdk-{JAVA_VERSION}-jre-headless, or set JAVA_HOME"
    if java is None or not Path(java).exists():
        raise MissingDependency("java", purpose, command=install)
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)  # Java 8 calls itself 1.8
    if version is None or int(version.group(1)) < JAVA_VERSION:
        raise MissingDependency(f"java {JAVA_VERSION}", f"{purpose}; {java} is too old", command=install)


def _start(workers: int | None, threads: int | None) -> SparkContext:
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = _configuration(workers, threads)
    if "PYSPARK_GATEWAY_PORT" in os.environ or SparkContext._gateway is not None:
        return SparkContext(conf=conf)
    # Java's start-up notices go to a log that is shown only if it fails: Spark has no setting that silences them.
    with tempfile.TemporaryFile("w+") as log:
        try:
            gateway = launch_gateway(conf, popen_kwargs={"stderr": log, "stdout": log})  # type: ignore[no-untyped-call]
            return SparkContext(conf=conf, gateway=gateway)
        except Exception as error:
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()] or [str(error)]
            raise ClipmineError(f"Spark did not start: {lines[-1].strip()}") from error


def _configuration(workers: int | None, threads: int | None) -> SparkConf:
    from pyspark import SparkConf

    conf = SparkConf().setAppName("clipmine").set("spark.log.level", "ERROR")
    conf.set("spark.ui.showConsoleProgress", "false")
    if "PYSPARK_GATEWAY_PORT" in os.environ or "--master" in os.environ.get("PYSPARK_SUBMIT_ARGS", ""):
        return conf  # master and sizes are the submitter's
    workers, threads = share_cores(usable_cores(), workers, threads)
    conf.setMaster(f"local[{workers * threads},{ATTEMPTS}]")
    conf.set("spark.task.cpus", str(threads))
    conf.set("spark.ui.enabled", "false")
    # Inside containers the host's own name often resolves to nothing.
    conf.set("spark.driver.host", "127.0.0.1").set("spark.driver.bindAddress", "127.0.0.1")
    for name in THREAD_VARIABLES:
        conf.set(f"spark.executorEnv.{name}", os.environ.get(name, str(threads)))
    return conf


def _send_packages(context: SparkContext) -> None:
    """Executors on other machines may lack this checkout: send them the packages as one zip."""
    folder = Path(tempfile.mkdtemp(prefix="clipmine-"))
    with zipfile.ZipFile(folder / "clipmine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ROOT_PACKAGES:
            root = Path(next(iter(importlib.import_module(name).__path__)))
            for file in sorted(root.rglob("*.py")):
                archive.write(file, Path(name) / file.relative_to(root))
    context.addPyFile(str(folder / "clipmine.zip"))
