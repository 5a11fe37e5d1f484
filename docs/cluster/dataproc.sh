#!/bin/bash
# One clipmine command on a Dataproc cluster whose image has Spark 4 and Java 17 (version 3.0 has).
#
#   export REGION=us-central1 CLUSTER=clipmine FILES=gs://BUCKET/clipmine-spark
#   gcloud storage cp clipmine-spark/* "$FILES/"          # once: what docs/cluster/spark-environment.sh wrote
#   docs/cluster/dataproc.sh embed gs://BUCKET/tars --out gs://BUCKET/store \
#     --model ViT-B-32 --pretrained openai --executor spark
#
# Paths are URLs: with deployMode=cluster the driver runs on any machine of the cluster, in a folder of its own.
set -euo pipefail
: "${REGION:?}" "${CLUSTER:?}" "${FILES:?}"
properties=(
    spark.submit.deployMode=cluster
    spark.pyspark.python=./environment/bin/python     # of the archive, for driver and executors
    # An item at a time for each executor, with all of its cores. Python's memory is what YARN calls overhead.
    spark.executor.cores=4
    spark.task.cpus=4
    spark.executor.memory=2g
    spark.executor.memoryOverhead=10g
    spark.driver.memory=2g
    spark.driver.memoryOverhead=14g
    # YARN's user has no home folder for models that are downloaded and copies of shards; name a disk with room.
    spark.yarn.appMasterEnv.HF_HOME=/tmp/clipmine/models
    spark.executorEnv.HF_HOME=/tmp/clipmine/models
    spark.yarn.appMasterEnv.CLIPMINE_CACHE=/tmp/clipmine/cache
    spark.executorEnv.CLIPMINE_CACHE=/tmp/clipmine/cache
)
gcloud dataproc jobs submit pyspark "$FILES/clipmine-spark.py" --region "$REGION" --cluster "$CLUSTER" \
    --py-files "$FILES/clipmine.zip" --archives "$FILES/environment.tar.gz#environment" \
    --properties "$(IFS=,; echo "${properties[*]}")" -- "$@"
