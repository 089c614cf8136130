#!/usr/bin/env bash
# A LiCl coarse-grained model from the shipped all-atom potential, several concentrations together.
#   benchmarks/gpu/coarse.sh [PS_PER_RUN] [RUNS_PER_CONCENTRATION]
# Defaults make 3 concentrations x 4 runs x 500 ps, a frame every 100 fs: 60,000 frames of 8 to 48
# ions, the 20,000 x 8..24 of the plan and more. Not yet run on a GPU; dynamics run where `bjerrum
# simulate` puts them, and the forces of the frames come again from the potential on the CUDA device.
set -euo pipefail
picoseconds=${1:-500}
runs=${2:-4}
cd "$(dirname "$0")/../.."
bjerrum=.venv/bin/bjerrum
[ -x "$bjerrum" ] || bjerrum=bjerrum
work=coarse-licl
mkdir -p "$work"
for molality in 0.7 1.4 2.8; do
  for seed in $(seq 1 "$runs"); do
    name="$work/licl-$molality-$seed"
    [ -f "$name.h5" ] && continue
    "$bjerrum" build --salt LiCl --molality "$molality" --waters 512 --seed "$seed" -o "$name.xyz"
    "$bjerrum" simulate --model licl-nnp1 --box "$name.xyz" --time-ps "$picoseconds" \
      --temperature 300 --frame-every-fs 100 --seed "$seed" -o "$name.h5"
  done
done
"$bjerrum" coarsen "$work"/licl-*.h5 --model licl-nnp1 --device cuda --temperature 300 --skip-ps 20 \
  -o "$work/licl-cg" --json > "$work/licl-cg.json"
"$bjerrum" check --model "$work/licl-cg" --json
