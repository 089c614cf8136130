#!/usr/bin/env bash
# A LiCl coarse-grained model from the shipped all-atom potential, several concentrations together.
#   benchmarks/gpu/coarse.sh [PS_PER_RUN] [RUNS_PER_CONCENTRATION]
#   WATERS=80 SKIP_PS=0 EVERY_FS=4 DEVICE=cpu benchmarks/gpu/coarse.sh 0.4 1     dry run without a GPU
# Defaults make 3 concentrations x 4 runs x 500 ps, a frame every 100 fs: 60,000 frames of 8 to 48
# ions, the 20,000 x 8..24 of the plan and more. All runs are one batch on the card, and go on where
# they were when the same command is given again. The forces of the frames come from the same
# potential. Not yet run on a GPU.
set -euo pipefail
picoseconds=${1:-500}
runs=${2:-4}
waters=${WATERS:-512} skip=${SKIP_PS:-20} every=${EVERY_FS:-100} device=${DEVICE:-cuda}
cd "$(dirname "$0")/../.."
bjerrum=.venv/bin/bjerrum
[ -x "$bjerrum" ] || bjerrum=bjerrum
work=${WORK:-coarse-licl}
"$bjerrum" simulate --model licl-nnp1 --salt LiCl --molality 0.7 --molality 1.4 --molality 2.8 \
  --waters "$waters" --replicas "$runs" --time-ps "$picoseconds" --temperature 300 \
  --frame-every-fs "$every" --device "$device" -o "$work"
"$bjerrum" coarsen "$work"/*/trajectory.h5 --model licl-nnp1 --device "$device" --temperature 300 \
  --skip-ps "$skip" -o "$work/licl-cg" --json > "$work/licl-cg.json"
"$bjerrum" check --model "$work/licl-cg" --json
