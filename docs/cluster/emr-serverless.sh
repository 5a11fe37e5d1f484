#!/bin/bash
# One clipmine command on an EMR Serverless application whose release has Java 17 and Spark 4, or 3.5 for `embed`.
#
#   export APPLICATION_ID=... ROLE_ARN=arn:aws:iam::... FILES=s3://BUCKET/clipmine-spark
#   aws s3 cp --recursive clipmine-spark "$FILES"         # once: what docs/cluster/spark-environment.sh wrote
#   docs/cluster/emr-serverless.sh embed s3://BUCKET/tars --out s3://BUCKET/store \
#     --model ViT-B-32 --pretrained openai --executor spark
#
# The role must be allowed to read and write the bucket. A download of URLs or of a model needs an application with a
# network (a VPC with a way out); without one, name the model by --model-dir in an image of your own.
set -euo pipefail
: "${APPLICATION_ID:?}" "${ROLE_ARN:?}" "${FILES:?}"
parameters=(
    --py-files "$FILES/clipmine.zip" --archives "$FILES/environment.tar.gz#environment"
    --conf spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON=./environment/bin/python
    --conf spark.emr-serverless.driverEnv.PYSPARK_PYTHON=./environment/bin/python
    --conf spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python
    # An item at a time for each executor, with all of its cores. Python's memory is the overhead.
    --conf spark.executor.cores=4
    --conf spark.task.cpus=4
    --conf spark.executor.memory=4g
    --conf spark.executor.memoryOverhead=20g
    --conf spark.emr-serverless.executor.disk=100g
    --conf spark.driver.memory=4g
    --conf spark.driver.memoryOverhead=20g
    --conf spark.emr-serverless.driver.disk=100g
    --conf spark.emr-serverless.driverEnv.HF_HOME=/tmp/clipmine/models
    --conf spark.executorEnv.HF_HOME=/tmp/clipmine/models
)
driver=$(python3 -c 'import json, sys; print(json.dumps({"sparkSubmit": {"entryPoint": sys.argv[1],
    "sparkSubmitParameters": sys.argv[2], "entryPointArguments": sys.argv[3:]}}))' \
    "$FILES/clipmine-spark.py" "${parameters[*]}" "$@")
aws emr-serverless start-job-run --application-id "$APPLICATION_ID" --execution-role-arn "$ROLE_ARN" \
    --name "clipmine-$1" --job-driver "$driver"
