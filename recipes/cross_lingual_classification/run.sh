#!/usr/bin/env bash
# A classifier of English documents reads other languages: the genre of Bible verses, through word vectors in one space.
#
#   ./run.sh                             # English to French, German, Spanish, Italian and Portuguese
#   ./run.sh --corpus synthetic          # made languages, no network, under two minutes
set -euo pipefail
corpus=bible          # bible or synthetic
conf=                 # conf/bible.yaml, conf/synthetic.yaml, or another
jobs=2                # runs side by side
publish=false         # copy results.json, RESULTS.md and figures beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[[ $conf ]] || conf=conf/$corpus.yaml

runs=$exp/runs
given=(--conf "$conf" --data "$data" --runs "$runs")
stage 0 "download the corpora" -- python local/prepare.py --corpus "$corpus" --out "$data" --download-only
stage 1 "prepare text, dictionaries and documents" local -- python local/prepare.py --corpus "$corpus" --out "$data"
stage 2 "train vectors" "$data" local -- python local/train.py "${given[@]}" --jobs "$jobs"
stage 3 "bring languages into one space" "$data" local -- python local/align.py "${given[@]}" --jobs "$jobs"
stage 4 "train classifiers and classify" "$data" local -- python local/classify.py "${given[@]}" --jobs "$jobs"
stage 5 "score" "$data" "$runs/predictions" local -- \
  python local/score.py "${given[@]}" --corpus "$corpus" --out "$exp/results.json"
stage 5 "pictures" "$exp/results.json" local -- \
  python local/pictures.py "${given[@]}" --corpus "$corpus" --results "$exp/results.json" --out "$exp/figures"
stage 6 "report" "$exp/results.json" "$exp/figures" local -- \
  python local/report.py --results "$exp/results.json" --figures "$exp/figures" --out "$exp" \
  --publish "$publish"
