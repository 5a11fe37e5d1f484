#!/bin/bash
# Writes the folder clipmine-spark/ with all that Spark sends to machines without our packages: the launcher, our code
# as a zip, and an archive of an environment with its own Python (several GB, most of it PyTorch). In the root of a
# clone, once for each version of clipmine, on the kind of processor that the machines have:
#
#   docker run --rm -v "$PWD:/src" -w /src condaforge/miniforge3 bash docs/cluster/spark-environment.sh
#
# venv-pack would leave Python out: its archives need the same Python at the same path on every machine.
set -euo pipefail
environment=/tmp/environment
conda create --yes --quiet --prefix "$environment" python=3.11
pip install --quiet uv conda-pack
# s3fs for s3://, gcsfs for gs://. Not pyspark: the cluster has its own.
uv pip install --quiet --python "$environment/bin/python" -c requirements.lock ".[s3]" gcsfs
"$environment/bin/python" -m jobs.spark_files clipmine-spark
conda-pack --prefix "$environment" --output clipmine-spark/environment.tar.gz --force --ignore-missing-files
