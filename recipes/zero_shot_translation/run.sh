#!/usr/bin/env bash
# A pair of languages translated that no training sentence joins: one model of many directions, with and without remedies.
#
#   ./run.sh                             # Multi30k, de and fr joined by en, each pair with captions of its own
#   ./run.sh --corpus tatoeba            # short sentences, es and de joined by en
#   ./run.sh --leaky                     # both pairs with all captions: what the leak is worth
#   ./run.sh --corpus synthetic          # made languages, no network, about two minutes
set -euo pipefail
corpus=multi30k       # multi30k, tatoeba or synthetic
conf=                 # conf/small.yaml (multi30k; --leaky: conf/shared.yaml), conf/tatoeba.yaml, conf/synthetic.yaml, or another
leaky=false           # give both pairs the same sentences
jobs=2                # trainings side by side
publish=false         # copy results.json, RESULTS.md and figures beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
case $corpus-$leaky in multi30k-false) usual=small ;; multi30k-true) usual=shared ;; *) usual=$corpus ;; esac
conf=${conf:-conf/$usual.yaml}

runs=$exp/runs
text=$data/text-leaky-$leaky
# other settings or text are another corpus in the results
named=$corpus
[[ $leaky == false ]] || named=$named-leaky
[[ $(basename -- "$conf" .yaml) == "$usual" ]] || named=$named-$(basename -- "$conf" .yaml)
given=(--conf "$conf" --data "$text")
stage 0 "download the corpus" -- \
  python local/prepare.py --corpus "$corpus" --leaky "$leaky" --conf "$conf" --out "$text" --download-only
stage 1 "prepare the halves" local -- \
  python local/prepare.py --corpus "$corpus" --leaky "$leaky" --conf "$conf" --out "$text"
stage 2 "train" "$text" local -- python local/train.py "${given[@]}" --runs "$runs" --jobs "$jobs"
stage 4 "translate" "$text" "$runs" local -- \
  python local/translate.py "${given[@]}" --runs "$runs" --out "$exp/translations" --jobs "$jobs"
stage 5 "score" "$text" "$exp/translations" local -- \
  python local/score.py --corpus "$corpus" --named "$named" "${given[@]}" --runs "$runs" \
  --translations "$exp/translations" --out "$exp/results.json"
stage 5 "pictures" "$exp/translations" local -- \
  python local/pictures.py --corpus "$named" "${given[@]}" --runs "$runs" \
  --translations "$exp/translations" --out "$exp/figures"
stage 6 "report" "$exp/results.json" "$exp/figures" local -- \
  python local/report.py --results "$exp/results.json" --figures "$exp/figures" --out "$exp" --publish "$publish"
