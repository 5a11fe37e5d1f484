"""The `spark` executor: one Spark task an item, on an open session, on spark-submit's master, or on this machine.

Outcomes come back through an accumulator while the job runs, so that progress shows and the first error stops the job.
"""

from __future__ import annotations

import atexit
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.cores import usable_cores
from index.errors import ClipmineError, MissingDependency
from jobs.executors.attempts import ATTEMPTS, ROOT_PACKAGES, Gpu, Outcome, Work, WorkerDied, attempt
from jobs.executors.cores import THREAD_VARIABLES, share_cores

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext

JAVA_VERSION = 17  # the oldest that Spark 4 runs on
POLL_SECONDS = 0.1
_GPU_GIVEN = "CLIPMINE_SPARK_GPU"
# Files of our packages that workers may need: code, and data that it reads. Models and pages stay here.
_SENT = (".py", ".txt", ".yaml", ".json")


def run(work: Work, workers: int | None, threads: int | None, gpu: Gpu) -> Generator[Outcome]:
    """Yield outcomes as items finish; closing the generator cancels the job.

    On a cluster, Spark's own settings decide how many tasks run at once and on which GPUs (spark.task.cpus,
    spark.task.resource.gpu.amount); `workers` and `threads` apply to a Spark that is started on this machine.
    """
    with open_spark(workers, threads) as context:
        from pyspark.accumulators import AccumulatorParam

        class Outcomes(AccumulatorParam[list[Outcome]]):
            def zero(self, value: list[Outcome]) -> list[Outcome]:
                return []

            def addInPlace(self, value1: list[Outcome], value2: list[Outcome]) -> list[Outcome]:
                value1.extend(value2)
                return value1

        arrived = context.accumulator([], Outcomes())
        sent = context.broadcast((work.function, work.config, work.environment))  # once a machine, not once a task
        items = list(work.items)
        group = f"clipmine-{work.label}-{id(work)}"
        errors: list[Exception] = []

        def run_partition(pairs: Iterable[tuple[int, Any]]) -> None:
            function, config, environment = sent.value
            if gpu:
                use_own_gpu()
            for position, item in pairs:
                arrived.add([attempt(function, position, item, config, environment)])

        def run_job() -> None:
            context.setJobGroup(group, f"clipmine {work.label}", interruptOnCancel=True)
            try:
                context.parallelize(list(enumerate(items)), numSlices=len(items)).foreachPartition(run_partition)
            except Exception as error:
                errors.append(error)

        job = threading.Thread(target=run_job, daemon=True)
        job.start()
        taken = 0
        try:
            running = True
            while running:
                job.join(POLL_SECONDS)
                running = job.is_alive()
                for outcome in arrived.value[taken:]:
                    taken += 1
                    yield outcome
            if errors:
                raise _job_error(work, errors[0])
        finally:
            if job.is_alive():
                context.cancelJobGroup(group)
                job.join()
            sent.unpersist()


def use_own_gpu() -> None:
    """Show a task's process only the GPU that Spark gave to its first task; a model that it has loaded stays there."""
    from pyspark import TaskContext

    task = TaskContext.get()
    given = task.resources().get("gpu") if task is not None else None
    if given is not None and not os.environ.get(_GPU_GIVEN):
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ[_GPU_GIVEN] = ",".join(given.addresses)


def _job_error(work: Work, error: Exception) -> ClipmineError:
    """The error for a job that Spark stopped: `WorkerDied` for a task whose worker died in every attempt.

    A task's number is its item's position.
    """
    task = re.search(r"Task (\d+) in stage \S+ failed", str(error))
    if task:
        return WorkerDied(work.label, work.item_name(int(task.group(1))), "Spark lost its worker")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ClipmineError(f"{work.label}: Spark stopped the job: {lines[-1].strip()}")


@contextmanager
def open_spark(workers: int | None, threads: int | None) -> Iterator[SparkContext]:
    """The Spark session that is open already, else one started here, which the next stages of the command use too.

    It is stopped when the process ends, or when other numbers of workers or threads are asked for.

    Raises:
        MissingDependency: pyspark is not installed, or no Java of version 17 or newer is found.
        ClipmineError: Spark did not start; the message carries the last line of its log.
    """
    try:
        from pyspark import SparkContext
    except ImportError:
        raise MissingDependency("pyspark", "--executor spark", extra="spark") from None
    running = SparkContext._active_spark_context
    if running is not None and (running is not _kept.context or _kept.used):
        yield running
        return
    # spark-submit's own settings decide the sizes of a cluster.
    sized = running is None or str(running.master).startswith("local")
    if running is None or (sized and _kept.sizes != (workers, threads)):
        _kept.stop()
        check_java()
        _kept.context, _kept.sizes = _start(workers, threads), (workers, threads)
        if not str(_kept.context.master).startswith("local"):
            _send_packages(_kept.context)
    _kept.used = True
    try:
        yield _kept.context
    finally:
        _kept.used = False


class _Kept:
    """The context that this process has started. used: a block of `open_spark` is open."""

    context: Any = None
    sizes: tuple[int | None, int | None] = (None, None)
    used = False

    def stop(self) -> None:
        if self.context is not None:
            self.context.stop()
            self.context = None


_kept = _Kept()
atexit.register(_kept.stop)


def check_java() -> None:
    """Raise MissingDependency without a Java that Spark runs on; Spark itself would print a page of stack trace."""
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
    # Java's start-up messages, which no setting of Spark silences, go to a log that is shown only on failure.
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
        return conf  # spark-submit sets the master and the sizes
    workers, threads = share_cores(usable_cores(), workers, threads)
    conf.setMaster(f"local[{workers * threads},{ATTEMPTS}]")
    conf.set("spark.task.cpus", str(threads))
    conf.set("spark.ui.enabled", "false")
    # In containers the host's own name often does not resolve.
    conf.set("spark.driver.host", "127.0.0.1").set("spark.driver.bindAddress", "127.0.0.1")
    for name in THREAD_VARIABLES:
        conf.set(f"spark.executorEnv.{name}", os.environ.get(name, str(threads)))
    return conf


def _send_packages(context: SparkContext) -> None:
    """Send our packages as one zip, unless spark-submit has: executors on other machines may not have them."""
    if any(".zip" in place for place in importlib.import_module("jobs").__path__):
        return
    archive = Path(tempfile.mkdtemp(prefix="clipmine-")) / "clipmine.zip"
    zip_packages(archive)
    context.addPyFile(str(archive))


def zip_packages(archive: Path) -> None:
    """Write our packages with their data files (word lists, task files, ...) as a zip that Python imports from."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ROOT_PACKAGES:
            root = Path(next(iter(importlib.import_module(name).__path__)))
            for file in sorted(root.rglob("*")):
                if file.suffix in _SENT:
                    packed.write(file, Path(name) / file.relative_to(root))
