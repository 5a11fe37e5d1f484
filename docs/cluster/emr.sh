#!/bin/bash
# One clipmine command as a step of an EMR cluster whose release has Java 17 and Spark 4, or 3.5 for `embed`.
#
#   export CLUSTER_ID=j-... FILES=s3://BUCKET/clipmine-spark
#   aws s3 cp --recursive clipmine-spark "$FILES"         # once: what docs/cluster/spark-environment.sh wrote
#   docs/cluster/emr.sh embed s3://BUCKET/tars --out s3://BUCKET/store \
#     --model ViT-B-32 --pretrained openai --executor spark
#
# Paths are URLs: with --deploy-mode cluster the driver runs on any machine of the cluster, in a folder of its own. The
# machines' role must be allowed to read and write the bucket.
set -euo pipefail
: "${CLUSTER_ID:?}" "${FILES:?}"
submit=(
    spark-submit --master yarn --deploy-mode cluster
    --py-files "$FILES/clipmine.zip" --archives "$FILES/environment.tar.gz#environment"
    --conf spark.pyspark.python=./environment/bin/python     # of the archive, for driver and executors
    # An item at a time for each executor, with all of its cores. Python's memory is what YARN calls overhead.
    --conf spark.executor.cores=4
    --conf spark.task.cpus=4
    --conf spark.executor.memory=2g
    --conf spark.executor.memoryOverhead=10g
    --conf spark.driver.memory=2g
    --conf spark.driver.memoryOverhead=14g
    # YARN's user has no home folder for models that are downloaded and copies of shards; name a disk with room.
    --conf spark.yarn.appMasterEnv.HF_HOME=/mnt/clipmine/models
    --conf spark.executorEnv.HF_HOME=/mnt/clipmine/models
    --conf spark.yarn.appMasterEnv.CLIPMINE_CACHE=/mnt/clipmine/cache
    --conf spark.executorEnv.CLIPMINE_CACHE=/mnt/clipmine/cache
    "$FILES/clipmine-spark.py" "$@"
)
# As JSON, so that arguments may hold commas and spaces.
steps=$(python3 -c 'import json, sys; print(json.dumps([{"Name": f"clipmine {sys.argv[1]}", "Type": "CUSTOM_JAR",
    "ActionOnFailure": "CONTINUE", "Jar": "command-runner.jar", "Args": sys.argv[2:]}]))' "$1" "${submit[@]}")
aws emr add-steps --cluster-id "$CLUSTER_ID" --steps "$steps"
