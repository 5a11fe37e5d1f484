#!/bin/bash
# Clipmine on the nodes of a Slurm job: starts a Ray over them, runs the steps below, and ends everything.
#
#   sbatch docs/cluster/slurm.sh                        # all steps below
#   sbatch docs/cluster/slurm.sh clipmine index /shared/store --executor ray      # one command instead
#
# Submitted again after a time limit or a lost node, it goes on where it was. Yours to set: the sizes, the paths.
#SBATCH --job-name=clipmine
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1           # take this line out for nodes without GPUs
#SBATCH --time=24:00:00
set -euo pipefail

# An environment with clipmine, and data, in folders that all nodes see.
source "${CLIPMINE_ENV:-/shared/clipmine/.venv}/bin/activate"

steps() {
    clipmine embed /shared/corpus --out /shared/store --model ViT-B-32 --pretrained openai --executor ray
    clipmine index /shared/store --executor ray
    clipmine retrieve /shared/store --concepts /shared/concepts.txt --out /shared/selection --executor ray
    clipmine export /shared/selection --out /shared/tars --executor ray
}

# Each job has four ports of its own between 20000 and 31999 (Ray's workers take those from 10002 to 19999, Linux those
# from 32768), its own folder and its own token, so that two jobs on a machine do not meet.
port=$((20000 + SLURM_JOB_ID % 3000 * 4))
head=$SLURMD_NODENAME               # this script runs on the first node
folder=/tmp/ray-$SLURM_JOB_ID       # short: it holds sockets, whose paths may have 107 characters
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
# The address under which Ray itself will know this node.
RAY_ADDRESS=$(python -c 'import ray; print(ray.util.get_node_ip_address())'):$port
export RAY_ADDRESS

# `ray stop` would also end the Ray of another job of yours on these machines, so the parts are ended one by one.
parts=()
finish() {
    trap - EXIT
    if [ ${#parts[@]} -gt 0 ]; then
        kill "${parts[@]}" 2>/dev/null || true
        wait "${parts[@]}" 2>/dev/null || true
    fi
    srun --overlap --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 rm -rf "$folder" || true
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# How many nodes the Ray at RAY_ADDRESS has.
nodes() {
    python - 2>/dev/null <<'END'
import os, ray
ray.init(address=os.environ["RAY_ADDRESS"], logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
END
}

# Wait until it has that many. A part that ends, as where a port is taken, ends the job.
wait_for_nodes() {
    until [ "$(nodes)" = "$1" ]; do
        for part in "${parts[@]}"; do
            kill -0 "$part" 2>/dev/null || { echo "Ray did not start: see $log" >&2; exit 1; }
        done
        [ "$SECONDS" -lt 900 ] || { echo "after 15 minutes not all nodes have joined: see $log" >&2; exit 1; }
        sleep 2
    done
}

log=$PWD/ray-$SLURM_JOB_ID.log
options=(--block --temp-dir="$folder" --num-cpus="$SLURM_CPUS_PER_TASK" --dashboard-agent-listen-port=$((port + 2)))
srun --nodes=1 --ntasks=1 --nodelist="$head" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    ray start --head --port="$port" --dashboard-port=$((port + 1)) --ray-client-server-port=$((port + 3)) \
    "${options[@]}" >>"$log" 2>&1 &
parts+=($!)
wait_for_nodes 1
others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then
    srun --nodes="$others" --ntasks="$others" --exclude="$head" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
        ray start --address="$RAY_ADDRESS" "${options[@]}" >>"$log" 2>&1 &
    parts+=($!)
    wait_for_nodes "$SLURM_JOB_NUM_NODES"
fi

if [ $# -gt 0 ]; then "$@"; else steps; fi
