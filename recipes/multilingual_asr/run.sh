#!/usr/bin/env bash
# Languages that share hidden layers, each with a head of its own HMM states, and a new language from minutes of speech.
#
#   ./run.sh                              # English, Arabic, Mandarin and Hebrew: real speech at 8 kHz
#   ./run.sh --conf conf/layers.yaml      # which layers a new language needs from the others
#   ./run.sh --conf conf/longer.yaml      # one language or several, with a wider encoder, trained to convergence
#   ./run.sh --corpus made                # ten languages read by espeak-ng, then the real ones from them
#   ./run.sh --corpus made --conf conf/made-gpu.yaml         # hours of them: for a GPU
#   ./run.sh --corpus synthetic           # three small made languages, no network, under two minutes
set -euo pipefail
corpus=real           # real, made or synthetic
conf=                 # conf/<corpus>.yaml, or another
jobs=2                # trainings side by side
publish=false         # copy results.json, RESULTS.md and figures beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
conf=${conf:-conf/$corpus.yaml}

# other settings are another corpus in the results
named=$corpus
case $(basename -- "$conf" .yaml) in real | made | synthetic) ;; *) named=$corpus-$(basename -- "$conf" .yaml) ;; esac
given=(--conf "$conf" --data "$data/speech")
stage 0 "download the corpora" -- \
  python local/prepare.py --corpus "$corpus" --conf "$conf" --out "$data/speech" --download-only
stage 1 "prepare data directories of each language" local -- \
  python local/prepare.py --corpus "$corpus" --conf "$conf" --out "$data/speech"
stage 2 "train" "$data/speech" local -- python local/train.py "${given[@]}" --runs "$exp/runs" --jobs "$jobs"
stage 3 "learn new languages" "$data/speech" "$exp/runs" local -- \
  python local/learn.py "${given[@]}" --runs "$exp/runs" --jobs "$jobs"
stage 4 "recognise" "$data/speech" "$exp/runs" "$exp/learned" local -- \
  python local/recognise.py "${given[@]}" --runs "$exp/runs" --out "$exp/hypotheses" --jobs "$jobs"
stage 5 "score" "$data/speech" "$exp/hypotheses" local -- \
  python local/score.py --corpus "$named" "${given[@]}" --runs "$exp/runs" --hypotheses "$exp/hypotheses" \
  --out "$exp/results.json"
stage 5 "pictures" "$exp/results.json" "$exp/runs" local -- \
  python local/pictures.py --corpus "$named" "${given[@]}" --runs "$exp/runs" --results "$exp/results.json" \
  --out "$exp/figures"
stage 6 "report" "$exp/results.json" "$exp/figures" local -- \
  python local/report.py --results "$exp/results.json" --figures "$exp/figures" --out "$exp" --publish "$publish"
