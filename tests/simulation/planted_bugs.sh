#!/usr/bin/env bash
# Shows that the Raft simulation can fail: each patch in planted/ puts one mistake into a copy of src/raft, and each must be
# found within SEEDS seeds. The same command finds nothing without them.
#
# usage: planted_bugs.sh [PATCH...]      environment: SEEDS (1000), CXX (g++), WORK (a temporary directory)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
seeds=${SEEDS:-1000}
compiler=${CXX:-g++}
command -v ccache >/dev/null && compiler="ccache $compiler"
work=${WORK:-$(mktemp -d)}
[[ -n ${WORK:-} ]] || trap 'rm -rf "$work"' EXIT
flags=(-std=c++20 -O1 -Wall -Wno-missing-field-initializers)

# prepare NAME: a copy of what the simulator is made of, with the objects of the copy without a bug if there are any.
prepare() {
  mkdir -p "$work/$1/tests" "$work/$1/src"
  cp -r "$root/src/raft" "$root/src/common" "$work/$1/src/"
  cp -r "$root/tests/simulation" "$work/$1/tests/"
  if [[ $1 != none ]]; then cp "$work"/none/*.o "$work/$1/"; fi
}

# build NAME: compiles what has no object in $work/NAME, and links.
build() {
  local dir=$work/$1 source object
  for source in "$dir"/src/raft/*.cc "$dir"/tests/simulation/raft_*.cc; do
    object=$dir/$(basename "$source" .cc).o
    [[ $source == *_test.cc || -e $object ]] && continue
    (cd "$dir" && $compiler "${flags[@]}" -Isrc -Itests -c "${source#"$dir"/}" -o "$object")
  done
  g++ "$dir"/*.o -o "$dir/raft_simulate"
}

failed=0
patches=("$@")
prepare none
build none
if [[ ${#patches[@]} == 0 ]]; then
  patches=("$root"/tests/simulation/planted/*.patch)
  if "$work/none/raft_simulate" --seeds "$seeds" >"$work/none.log" 2>&1; then
    echo "without a planted bug: nothing found in $seeds seeds"
  else
    echo "FAIL: without a planted bug: $(tail -2 "$work/none.log")"
    failed=1
  fi
fi
for patch in "${patches[@]}"; do
  patch=$(realpath "$patch")
  name=$(basename "$patch" .patch)
  prepare "$name"
  (cd "$work/$name" && GIT_CEILING_DIRECTORIES=$work git apply "$patch")
  for touched in $(sed -n 's|^+++ b/||p' "$patch"); do
    if [[ $touched == *.h ]]; then rm -f "$work/$name"/*.o; else rm -f "$work/$name/$(basename "$touched" .cc).o"; fi
  done
  build "$name"
  if timeout 300 "$work/$name/raft_simulate" --seeds "$seeds" >"$work/$name.log" 2>&1; then
    echo "FAIL: $name: not found in $seeds seeds"
    failed=1
  elif grep -q FAILED "$work/$name.log"; then
    echo "$name: $(grep FAILED "$work/$name.log")"
  else
    echo "FAIL: $name: the simulator died without a verdict"
    failed=1
  fi
done
exit "$failed"
