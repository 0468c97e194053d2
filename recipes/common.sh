# shellcheck shell=bash disable=SC2154 # options are assigned through their names
# What every recipe shares: options, stages and done-markers. Corpora and commands live in each recipe's run.sh.
#
# A run.sh is a header comment (which --help prints), its options with their defaults, the line that sources this file,
# and one visible command per stage:
#
#   #!/usr/bin/env bash
#   # One sentence on what this recipe shows.
#   set -euo pipefail
#   corpus=fsdd            # fsdd or synthetic
#   conf=conf/quick.yaml   # conf/quick.yaml or conf/best.yaml
#   . "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
#
#   stage 1 "prepare the data" -- python local/prepare.py --corpus "$corpus" --out "$data"
#   stage 2 "train the source model" "$data/train" "$data/dev" -- speechnlp-tl train "$conf" --out "$exp/source"
#
# Lines `name=default  # what it is` above the source line declare the options: lm_weight=1 is --lm-weight 1. A default
# of true or false makes a switch: --fast, or --fast false. Every recipe also has the options declared below. A relative
# --exp, --data, --*-dir or --*-file starts from the caller's folder; a relative --conf from the recipe's folder, else from the
# caller's.
#
# What run.sh finds set afterwards: $exp and $data, this run's own folders (absolute, <root>/<recipe>/<name>); $recipe,
# $name and $root (the repository). It stands in the recipe's folder, so conf/ and local/ are named as they are.
# `speechnlp-tl` and `python` as the first word of a stage's command mean this checkout, installed or not.
#
#   stage NUMBER TITLE INPUT... -- COMMAND ARGUMENT...
#
# runs COMMAND unless its marker $exp/.done/NUMBER-TITLE says that it finished with the same command line, the same
# INPUT files and folders, the same configs and scripts on its command line and the same package version
# (done_marker.py).
# Several stages may share a number; their titles differ.

set -euo pipefail

_standard_options='stage=0            # first stage to run: 0 download, 1 prepare, 2 train the source model, 3 transfer
stop_stage=6       # last stage to run: 4 decode or predict, 5 score, 6 report
exp=               # folder of experiments (default: exp in the repository); this run uses DIR/<recipe>/<name>
data=              # folder of prepared data (default: data in the repository); this run uses DIR/<recipe>/<name>
name=              # name of this run (default: the corpus and the configuration)
force=false        # run the stages even if they are done'

_script=${BASH_SOURCE[1]}
_source_line=${BASH_LINENO[0]}
_caller=$PWD
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
_recipe_folder=$(CDPATH='' cd -- "$(dirname -- "$_script")" && pwd)
_script=$_recipe_folder/$(basename -- "$_script")
recipe=$(basename -- "$_recipe_folder")
_options=()        # the names of all options, as variables
_option_lines=()   # "name=default  # what it is", as declared
_stages_seen=$'\n'
_child=
_signal=

die() {
  printf '%s: %s\n' "$recipe" "$1" >&2
  exit 2
}

# --- options ----------------------------------------------------------------------------------------------------------

_declare_options() {
  local line pattern='^([a-z][a-z0-9_]*)=([^(].*)?$'
  while IFS= read -r line; do
    [[ $line =~ $pattern ]] || continue
    _options+=("${BASH_REMATCH[1]}")
    _option_lines+=("$line")
  done < <(head -n "$_source_line" -- "$_script")
  while IFS= read -r line; do
    _is_option "${line%%=*}" && continue
    _options+=("${line%%=*}")
    _option_lines+=("$line")
    line=${line%%#*}
    printf -v "${line%%=*}" '%s' "$(_trim "${line#*=}")"
  done <<<"$_standard_options"
}

_trim() {
  local text=$1
  text=${text#"${text%%[![:space:]]*}"}
  printf '%s' "${text%"${text##*[![:space:]]}"}"
}

_is_option() {
  local known
  for known in ${_options[@]+"${_options[@]}"}; do
    [[ $known == "$1" ]] && return 0
  done
  return 1
}

_help() {
  awk 'NR == 1 && /^#!/ { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$_script"
  printf '\nOptions:\n'
  local line option value about
  for line in "${_option_lines[@]}"; do
    option=${line%%=*} value=${line#*=} about=
    [[ $value == *'#'* ]] && about=$(_trim "${value#*#}") && value=${value%%#*}
    printf '  %-30s %s\n' "--${option//_/-} $(_trim "$value")" "$about"
  done
  printf '  %-30s %s\n' --help 'this text'
}

_die_unknown_option() {
  local option known=()
  for option in "${_options[@]}"; do known+=("--${option//_/-}"); done
  local nearest=
  [[ $python ]] && nearest=$("$python" -I -c 'import difflib, sys
print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1, 0.5))' "$1" "${known[@]}" --help)
  die "unknown option $1${nearest:+; did you mean $nearest?}"$'\n'"known options: ${known[*]} --help"
}

_parse_options() {
  local argument option value
  while (($#)); do
    argument=$1
    shift
    case $argument in
      -h | --help)
        _help
        exit 0
        ;;
      --?*) ;;
      *) die "unexpected argument '$argument'; options look like --corpus NAME (--help lists them)" ;;
    esac
    option=${argument%%=*}
    value=${option#--}
    value=${value//-/_}
    # --stop_stage is not an option: one spelling, the one that --help shows
    if [[ $option == *_* ]] || ! _is_option "$value"; then _die_unknown_option "$option"; fi
    if [[ $argument == *=* ]]; then
      _set_option "$value" "${argument#*=}"
    elif [[ ${!value-} == true || ${!value-} == false ]] && [[ ${1-} != true && ${1-} != false ]]; then
      _set_option "$value" true
    else
      [[ $# -gt 0 && $1 != --* ]] || die "$option needs a value"
      _set_option "$value" "$1"
      shift
    fi
  done
}

_set_option() {
  local value=$2
  if [[ ${!1-} == true || ${!1-} == false ]] && [[ $value != true && $value != false ]]; then
    die "--${1//_/-} is true or false, not '$value'"
  fi
  case $1 in
    exp | data | *_dir | *_file) [[ $value == /* || -z $value ]] || value=$_caller/$value ;;
    conf) [[ -z $value || -e $_recipe_folder/$value || $value == /* ]] || value=$_caller/$value ;;
  esac
  printf -v "$1" '%s' "$value"
}

_check_options() {
  local option
  for option in recipe root python; do
    ! _is_option "$option" || die "'$option' cannot be an option: common.sh sets it"
  done
  # what the environment happens to hold under these names is nobody's choice
  _is_option conf || conf=
  _is_option corpus || corpus=
  for option in stage stop_stage; do
    [[ ${!option} =~ ^[0-6]$ ]] || die "--${option//_/-} is a number from 0 to 6, not '${!option}'"
  done
  ((stage <= stop_stage)) || die "--stage $stage comes after --stop-stage $stop_stage: nothing to run"
  if [[ $conf && ! -f $conf ]]; then
    die "--conf $conf: no such file; there are: $(printf '%s ' conf/*.yaml)"
  fi
  local configuration=$conf
  configuration=$(basename -- "${configuration%.*}")
  [[ $configuration == "$corpus" ]] && configuration=
  [[ $name ]] || name=$corpus${corpus:+${configuration:+-}}$configuration
  [[ $name ]] || name=default
  [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]] ||
    die "'$name' cannot name a folder: use letters, digits, '.', '_', '+' and '-' (--name, --corpus, --conf)"
  exp=$(_folder "${exp:-$root/exp}")/$recipe/$name
  data=$(_folder "${data:-$root/data}")/$recipe/$name
}

_folder() {
  mkdir -p -- "$1" && CDPATH='' cd -- "$1" && pwd
}

# --- the Python that runs the commands --------------------------------------------------------------------------------

_usable_python() {
  [[ -x $1 ]] && "$1" -c 'import importlib.util as u, sys
sys.exit(sys.version_info < (3, 10) or u.find_spec("torch") is None)' 2>/dev/null
}

_find_python() {
  local candidate
  python=
  if [[ ${PYTHON-} ]]; then
    candidate=$(command -v -- "$PYTHON" || true)
    [[ $candidate == */* && $candidate != /* ]] && candidate=$_caller/$candidate
    _usable_python "$candidate" && python=$candidate
    return 0
  fi
  for candidate in "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "$root/.venv/bin/python"; do
    _usable_python "$candidate" && python=$candidate && return 0
  done
  return 0
}

_die_without_python() {
  local tried=${PYTHON:+\$PYTHON ($PYTHON)}
  die "no Python 3.10+ with the project's packages in ${tried:-the active environment or .venv}; \
run 'make env' in $root, or set PYTHON to the interpreter to use"
}

# --- stages -----------------------------------------------------------------------------------------------------------

stage() {
  local number=$1 title=$2 slug inputs=()
  shift 2
  while (($#)) && [[ $1 != -- ]]; do
    inputs+=("$1")
    shift
  done
  [[ $number =~ ^[0-6]$ ]] || die "stage '$number' ($title): stages are numbered 0 to 6"
  (($# > 1)) || die "stage $number ($title): write -- and the command after its inputs"
  shift
  slug=$(printf '%s' "$title" | LC_ALL=C tr '[:upper:]' '[:lower:]' | LC_ALL=C tr -cs '[:alnum:]' '-')
  slug=$number-${slug%-}
  [[ $_stages_seen != *$'\n'"$slug"$'\n'* ]] || die "two stages are named '$number $title'; give each its own title"
  _stages_seen+=$slug$'\n'
  ((stage <= number && number <= stop_stage)) || return 0
  _run_stage "$number" "$title" "$exp/.done/$slug" ${inputs[@]+"${inputs[@]}"} -- "$@"
}

_run_stage() {
  local number=$1 title=$2 marker=$3 answer=0 reason
  shift 3
  reason=$(_marker start "$marker" "$@") || answer=$?
  case $answer in
    0)
      printf 'stage %s: %s: done already (inputs unchanged)\n' "$number" "$title"
      return
      ;;
    10) ;; # to be run
    *)
      printf '%s: stage %s (%s) cannot start\n' "$recipe" "$number" "$title" >&2
      exit "$answer"
      ;;
  esac
  while [[ $1 != -- ]]; do shift; done
  shift
  printf 'stage %s: %s%s\n  $' "$number" "$title" "${reason:+ ($reason)}"
  printf ' %q' "$@"
  printf '\n'

  local began=$SECONDS status=0 how
  _run_command "$@" || status=$?
  if ((status)); then
    how=failed
    [[ -z $_signal ]] || how="stopped by SIG$_signal"
    printf '%s: stage %s (%s) %s after %s, exit code %s; the same command starts here again\n' \
      "$recipe" "$number" "$title" "$how" "$(_duration $((SECONDS - began)))" "$status" >&2
    exit "$status"
  fi
  _marker finish "$marker" --seconds $((SECONDS - began))
  printf 'stage %s: done in %s\n' "$number" "$(_duration $((SECONDS - began)))"
}

_marker() {
  local verb=$1 marker=$2 arguments=()
  shift 2
  if [[ $verb == start ]]; then
    arguments=(--exp "$exp" --root "$root")
    [[ $force == false ]] || arguments+=(--force)
  fi
  "$python" -I "$root/recipes/done_marker.py" "$verb" "$marker" ${arguments[@]+"${arguments[@]}"} "$@"
}

# Run a command as a process group of its own and hand signals on, so that Ctrl-C reaches it once, as does a `kill` of
# run.sh alone (a scheduler's, a container's), and so that run.sh outlives it to say what happened.
_run_command() {
  local command=("$@") status
  case $1 in
    speechnlp-tl) command=("$python" -c "$_run_cli" "${@:2}") ;;
    python) command=("$python" "${@:2}") ;;
  esac
  _child='' _signal=''
  trap '_forward INT' INT
  trap '_forward TERM' TERM
  trap '_forward HUP' HUP
  trap '_pause' TSTP
  set -m
  "${command[@]}" </dev/null &
  _child=$!
  set +m
  [[ -z $_signal ]] || _forward "$_signal"
  while :; do
    _interrupted=false status=0
    wait "$_child" || status=$?
    [[ $_interrupted == true ]] || break # a signal ends `wait`, not the command: it may be writing its checkpoint
  done
  trap - INT TERM HUP TSTP
  # a command that was told to stop and left with 0 has stopped, not finished
  if [[ $_signal && $status == 0 ]]; then status=$((128 + $(kill -l "$_signal"))); fi
  return "$status"
}

# what the installed console script does
_run_cli='import sys; from speechnlp_tl.cli import main; sys.argv[0] = "speechnlp-tl"; sys.exit(main())'

_forward() {
  _signal=$1 _interrupted=true
  [[ -z $_child ]] || kill -s "$1" -- "-$_child" 2>/dev/null || true
}

# Ctrl-Z: the command waits as long as this script does
_pause() {
  _interrupted=true
  [[ -z $_child ]] || kill -s STOP -- "-$_child" 2>/dev/null || true
  kill -s STOP $$
  [[ -z $_child ]] || kill -s CONT -- "-$_child" 2>/dev/null || true
}

_duration() {
  if (($1 < 60)); then
    printf '%d s' "$1"
  elif (($1 < 3600)); then
    printf '%d min %d s' $(($1 / 60)) $(($1 % 60))
  else
    printf '%d h %d min' $(($1 / 3600)) $(($1 % 3600 / 60))
  fi
}

_declare_options
_find_python
_parse_options "$@"
cd -- "$_recipe_folder"
_check_options
[[ $python ]] || _die_without_python
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
mkdir -p -- "$exp"
[[ $corpus != synthetic ]] ||
  echo 'note: --corpus synthetic is made data; it shows that the recipe works, not how well'
