#!/usr/bin/env bash
#SBATCH --job-name=wideseek
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=24:00:00
# A Ray cluster over the nodes of a job, and one training run on it. The folder that this is submitted
# from must be on a file system that all nodes share: environments, models, data and the run are there.
#   sbatch examples/cluster/slurm.sh
# A job that is ended by its time limit is submitted again and resumes from the last checkpoint.
set -euo pipefail
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
ray=.venv/bin/ray

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    "$ray" start --head --node-ip-address="$address" --port=6379 --num-gpus=8 --block &
sleep 20
if [ "${#nodes[@]}" -gt 1 ]; then
    srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --exclude="$head" \
        "$ray" start --address="$address:6379" --num-gpus=8 --block &
    sleep 20
fi

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" .venv/bin/wideseek train \
    configs/train/qwen3_4b.yaml configs/cluster/qwen3_4b_16gpu.yaml \
    placement.address="$address:6379" "$@"
