#!/usr/bin/env bash
# The learning run and the schedules on the GPUs of one host, from the root of the repository:
#
#   PREPARE=1 bash tests/benchmarks/gpu_learning.sh     # without a GPU, once: demonstrations, bytecode
#   GPUS=0,1,2,3 LIMIT=700 bash tests/benchmarks/gpu_learning.sh
#
# A seed on every GPU but the last (team and single agent side by side, with a vLLM server each), the
# schedules on the last one. PARTS=learn takes all GPUs for seeds, PARTS=schedules all for schedules,
# which are dealt out to them in the order of SCHEDULES. GPUS=0+1 OWN_PROCESS=1 has the trainer on
# GPU 0 and the engine on GPU 1. LAYOUT="0:1 1:2 0:3" puts seeds on GPUs by their place in GPUS.
# LIMIT is the time for everything in seconds, EACH that of training under a schedule (what there
# is, divided, if not given). The same command again continues: what is done is in OUT_DIR. Servers
# listen on every tenth port above PORT.
set -u
PYTHON=${PYTHON:-python}
GPUS=${GPUS:-0}
LIMIT=${LIMIT:-700}
PARTS=${PARTS:-learn,schedules}
SEED=${SEED:-1}
OUT_DIR=${OUT_DIR:-runs/learning}
WORK=${WORK:-runs/learning-work}
ENGINE=${ENGINE:-configs/engine/vllm.yaml}
EXTRA=${EXTRA:-}
SFT=${SFT:-"configs/sft_smollm2.yaml;demos.processes=4;sft.max_seconds=90"}
SINGLE_SHARE=${SINGLE_SHARE:-0.3}
ARMS=${ARMS:-multi single} # multi: the team alone
STALENESS=${STALENESS:-1}
SCHEDULES=${SCHEDULES:-sync,async:2,tail,async:1,async:4}
OWN_PROCESS=${OWN_PROCESS:-} # not empty: trainers in processes of their own
BUILTIN=${BUILTIN:-} # not empty: another engine than vLLM, for rehearsals without a GPU

began=$SECONDS
mkdir -p "$OUT_DIR" "$WORK"
IFS=, read -ra cards <<< "$GPUS"
learners=${#cards[@]}
[[ $PARTS == *schedules* ]] && learners=$((learners - 1))
[[ $PARTS == *learn* ]] || learners=0
if [ -z "${LAYOUT:-}" ]; then
  LAYOUT=
  for ((i = 0; i < learners; i++)); do LAYOUT="$LAYOUT $i:$((SEED + i))"; done
fi

sft=(--sft "$SFT" --demos "$WORK/demos")
if [ -n "${PREPARE:-}" ]; then
  seeds=()
  for place in $LAYOUT; do seeds+=(--seed "${place#*:}"); done
  run() { nice -n 5 "$PYTHON" "$@"; }
  # The first import of vLLM may take a minute where its files have not been read yet.
  [ -n "$BUILTIN" ] || run -c "import vllm.entrypoints.cli.main, vllm.v1.engine.core" > /dev/null 2>&1 &
  [ $learners = 0 ] || run tests/benchmarks/gpu_learning.py "$WORK/prepared" --prepare "${seeds[@]}" \
    --single-share "$SINGLE_SHARE" "${sft[@]}" configs/train/smollm2.yaml $EXTRA
  [[ $PARTS != *schedules* ]] || run tests/benchmarks/gpu_schedules.py "$WORK/prepared" --prepare \
    "${sft[@]}" configs/train/smollm2.yaml $EXTRA
  wait
  exit
fi

cores=$(nproc)
each_cores=$((cores / ${#cards[@]}))
[ $each_cores -ge 1 ] || each_cores=1
port=${PORT:-23100}
pids=()
launch() { # NAME PLACE SCRIPT OUT ARGUMENT...: one process on a GPU and its share of the cores
  local name=$1 at=$2 script=$3 out=$4
  shift 4
  local from=$((at * each_cores)) cache=$WORK/cache-$name
  local to=$((from + each_cores - 1))
  [ $to -lt "$cores" ] || { from=0 to=$((cores - 1)); }
  port=$((port + 10))
  local own=()
  # Caches of their own: servers that start together would write the same files.
  [ -n "$BUILTIN" ] || own=(policy.engine.logs="$WORK/$name/servers" policy.engine.launch.port=$port
    policy.engine.launch.float32_head=false)
  if [ -n "$OWN_PROCESS" ]; then
    local cluster=configs/cluster/one_gpu.yaml
    [[ ${cards[$at]} != *+* ]] || cluster=configs/cluster/two_gpus.yaml
    if [ -n "$BUILTIN" ]; then own+=(placement.trainer.processes=1); else own+=("$cluster"); fi
  fi
  mkdir -p "$cache"
  env CUDA_VISIBLE_DEVICES="${cards[$at]//+/,}" OMP_NUM_THREADS=2 VLLM_CACHE_ROOT="$cache/vllm" \
    TORCHINDUCTOR_CACHE_DIR="$cache/inductor" TRITON_CACHE_DIR="$cache/triton" \
    timeout -s INT -k 8 $((LIMIT - 4)) taskset -c "$from-$to" "$PYTHON" "$script" "$out" "${sft[@]}" \
    configs/train/smollm2.yaml "$ENGINE" folder="$WORK/$name" "${own[@]}" \
    trainer.attention=rows trainer.compile=false "$@" $EXTRA > "$WORK/$name.log" 2>&1 &
  pids+=($!)
}

learner() { # SEED PLACE
  local seed=$1 at=$2 widths=0 reserve=95 arm
  [ "$seed" = "$SEED" ] && widths=40 reserve=105
  local common=(--seconds $((LIMIT - 14)) --reserve "${RESERVE:-$reserve}" --seed "$seed"
    --single-share "$SINGLE_SHARE" trainer.max_batch_tokens=12288 rl.rollout_deadline_s=60
    rl.schedule.kind=async rl.schedule.max_staleness=$STALENESS
    rl.max_concurrent_rollouts=$((64 * (STALENESS + 1))))
  # Two servers on one GPU: with a cache of given size neither measures what the other takes.
  [ -n "$BUILTIN" ] || common+=(policy.engine.launch.memory_share=0.2
    'policy.engine.launch.extra_args=["--kv-cache-memory-bytes","10737418240"]')
  [ -z "$OWN_PROCESS" ] || [ -n "$BUILTIN" ] || common+=(placement.engines.memory_share=0.2)
  for arm in $ARMS; do
    local out=$OUT_DIR/$arm-$seed also=(--width-tasks 0 --other "$OUT_DIR/multi-$seed")
    [ "$arm" = multi ] && also=(--width-tasks $widths)
    [ "$ARMS" = "multi single" ] && [ "$arm" = multi ] && also+=(--peer "$OUT_DIR/single-$seed")
    mkdir -p "$out"
    launch "$arm-$seed" "$at" tests/benchmarks/gpu_learning.py "$out" --arms "$arm" "${also[@]}" \
      "${common[@]}" ${LEARN_EXTRA:-}
  done
}

if [[ $PARTS == *learn* ]]; then
  for place in $LAYOUT; do learner "${place#*:}" "${place%%:*}"; done
fi
schedules_on() { # PLACE NAMES FOLDER [SETTING...]: some schedules on a GPU
  local at=$1 names=$2 out=$OUT_DIR/$3
  shift 3
  mkdir -p "$out"
  # The start is trained beside the start of the server, and frees its memory when it is done: with a
  # cache of given size the server does not measure meanwhile what is free.
  local cache=()
  [ -n "$BUILTIN" ] || cache=('policy.engine.launch.extra_args=["--kv-cache-memory-bytes","17179869184"]')
  launch "$(basename "$out")" "$at" tests/benchmarks/gpu_schedules.py "$out" --schedules "$names" \
    --seconds $((LIMIT - 14)) --each "$each" --reserve $reserve $short --trials 1 "$@" \
    rl.rollout_deadline_s=60 rl.max_concurrent_rollouts=320 "${cache[@]}" ${SCHEDULES_EXTRA:-}
}

if [[ $PARTS == *schedules* ]]; then
  IFS=, read -ra names <<< "$SCHEDULES"
  places=("$learners")
  [[ $PARTS == *learn* ]] || places=("${!cards[@]}")
  rounds=$(((${#names[@]} + ${#places[@]} - 1) / ${#places[@]}))
  each=${EACH:-$(((LIMIT - 165) / rounds - 24))} reserve=24 short=
  if [ "$each" -lt 70 ]; then # too short for a change of item F1: times alone
    each=${EACH:-$(((LIMIT - 145) / rounds - 5))} reserve=4 short=--no-measure
  fi
  [ "$each" -ge 10 ] || each=10
  for i in "${!places[@]}"; do
    mine=
    for ((j = i; j < ${#names[@]}; j += ${#places[@]})); do mine=$mine,${names[$j]}; done
    [ -n "$mine" ] || continue
    if [ "$i" = 0 ]; then schedules_on "${places[0]}" "${mine#,}" schedules
    else schedules_on "${places[$i]}" "${mine#,}" "schedules-$i" --other "$OUT_DIR/schedules"; fi
  done
fi

keep() { # what is small, so that a machine that is lost takes little with it
  local log
  for log in "$WORK"/*.log; do
    [ -e "$log" ] && tail -c 150000 "$log" > "$OUT_DIR/$(basename "$log")"
  done
  for log in "$WORK"/*/servers/*.log "$WORK"/*/logs/*.log; do # without and with OWN_PROCESS
    [ -e "$log" ] || continue
    local run=${log%/*/*}
    tail -c 40000 "$log" > "$OUT_DIR/$(basename "$run").$(basename "$log" .log).txt"
  done
  nvidia-smi --query-gpu=index,utilization.gpu,memory.used --format=csv,noheader \
    >> "$OUT_DIR/gpus.txt" 2> /dev/null
  uptime >> "$OUT_DIR/gpus.txt"
}
running() {
  local pid
  for pid in "${pids[@]}"; do kill -0 "$pid" 2> /dev/null && return 0; done
  return 1
}
while running; do
  for _ in 1 2 3 4 5 6 7 8; do
    running || break
    sleep 1
  done
  keep
done
for pid in "${pids[@]}"; do
  wait "$pid"
  echo "process $pid ended with $? after $((SECONDS - began)) s"
done
keep
