#!/usr/bin/env bash
# AN4: spelled names, numbers and commands by 84 speakers. Train on the official 948 utterances, test on 130.
#
#   ./run.sh                                     # the quick configuration, under three minutes of training on 2 cores
#   ./run.sh --conf conf/best.yaml               # the best one, on 66 speakers; settings are chosen on 8 others
#   ./run.sh --conf conf/best.yaml --train train --dev '' --name best-all   # the same settings on all 74 speakers
#   ./run.sh --corpus synthetic                  # made speech, no network
set -euo pipefail
corpus=an4            # an4 or synthetic
conf=                 # conf/<corpus>.yaml, conf/best.yaml, or another
train=train_main      # data to train on: train_main, or train (held-out speakers included, nothing left to choose on)
dev=train_dev         # data to choose weights and search settings on; '' for none: what the config says
publish=false         # copy results.json and RESULTS.md beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
conf=${conf:-conf/$corpus.yaml}

stage 0 "download the corpus" -- python -m data_prep.fetch "$corpus"
stage 1 "prepare data directories" -- python -m "data_prep.$corpus" --out "$data"
stage 2 "train" "$data/$train" "$data/${dev:-$train}" -- \
  speechnlp-tl train "$conf" --out "$exp/model" --set data.train="$data/$train" \
  ${dev:+--set data.dev="$data/$dev"} --set data.lexicon="$data/lexicon.txt"
stage 4 "recognise the test recordings" "$exp/model/model" "$data/test" -- \
  speechnlp-tl transcribe --model "$exp/model" --data "$data/test" --out "$exp/hyp"
stage 5 "score" "$exp/hyp" "$data/test" -- \
  speechnlp-tl score --ref "$data/test/text" --hyp "$exp/hyp" --json "$exp/scores.json" --alignments "$exp/alignments.txt"
stage 6 "results" "$exp/scores.json" -- \
  python ../write_results.py --recipe an4 --corpus "$corpus" --system "$name" \
  --scores "$exp/scores.json" --model "$exp/model" --out "$exp" --publish "$publish"
stage 6 "report" "$exp/results.json" -- speechnlp-tl report "$exp" "$exp/model" --out "$exp/report.html"
