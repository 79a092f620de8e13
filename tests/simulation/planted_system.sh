#!/usr/bin/env bash
# Shows that the simulation of the whole system can fail: each patch in planted_system/ puts one mistake into a copy of
# the tree, and each must be found within SEEDS seeds. By hand, not part of `./dev test`: it builds the simulator anew.
#
# usage: planted_system.sh [PATCH...]    environment: SEEDS (3000), WORK (a temporary directory; kept if it is given)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
seeds=${SEEDS:-3000}
work=${WORK:-$(mktemp -d)}
[[ -n ${WORK:-} ]] || trap 'rm -rf "$work"' EXIT
tree=$work/tree
mkdir -p "$tree"
(cd "$root" && git ls-files -z | xargs -0 cp --parents -t "$tree")
export GIT_CEILING_DIRECTORIES=$work

build() {
  (cd "$tree" && { [[ -d build/release ]] || cmake --preset release; } && ninja -C build/release system_simulate) \
    >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; return 1; }
}

failed=0
patches=("$@")
if [[ ${#patches[@]} == 0 ]]; then patches=("$root"/tests/simulation/planted_system/*.patch); fi
for patch in "${patches[@]}"; do
  patch=$(realpath "$patch")
  name=$(basename "$patch" .patch)
  (cd "$tree" && git apply "$patch")
  if ! build; then
    echo "FAIL: $name: does not build"
    failed=1
  elif timeout 900 "$tree/build/release/bin/system_simulate" --seeds "$seeds" >"$work/$name.log" 2>&1; then
    echo "FAIL: $name: not found in $seeds seeds"
    failed=1
  elif grep -q FAILED "$work/$name.log"; then
    echo "$name: $(grep -m1 FAILED "$work/$name.log")"
  else
    echo "FAIL: $name: the simulator died without a verdict"
    failed=1
  fi
  (cd "$tree" && git apply -R "$patch")
done
exit "$failed"
