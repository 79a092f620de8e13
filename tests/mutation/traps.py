#!/usr/bin/python3
"""Shows that the named test of each known trap can fail: the trap's mistake is put into a copy of the code, and the test must see it.

  tests/mutation/traps.py [T17 T46 ...] [--tree DIR] [--seconds 60]

traps/T17_some_words.patch is one mistake: lines `mistake:`, `test: <binary> <Suite.Name>`, perhaps `fails:`, `seconds:` and `note:`, then
the diff of src/ (or `patch: FILE` for one that lies elsewhere). First the named tests must pass without any mistake; then each is
run alone with the mistake put in, and must fail an expectation. It may also crash or hang where `fails:` says so (`assertion, crash`).
--tree keeps the copy and its build directory for the next run. Exit code 0: every test passed without and failed with its mistake.
"""
import argparse
import glob
import os
import re
import sys
import time

from tree_copy import TreeCopy, root

HERE = os.path.dirname(os.path.abspath(__file__))
KEYS = ("mistake", "test", "fails", "seconds", "note", "patch")
KINDS = {"assertion", "crash", "hang"}


class Mistake:
    def __init__(self, path):
        self.name = os.path.basename(path).removesuffix(".patch")
        self.trap = self.name[:3]
        self.patch = path
        self.tests, self.mistake, self.note, self.seconds, self.kinds = [], "", "", None, {"assertion"}
        with open(path) as lines:
            for line in lines:
                if line.startswith(("---", "diff ")):
                    break
                key, colon, value = line.strip().partition(":")
                if not line.strip():
                    continue
                if not colon or key not in KEYS:
                    sys.exit(f"{path}: not `key: value` with a key of {', '.join(KEYS)}: {line.strip()}")
                self._take(key, value.strip())
        if not self.mistake or not self.tests:
            sys.exit(f"{path}: a mistake needs one sentence and at least one test")
        for _, test in self.tests:
            if self.trap not in re.split(r"[._]", test):
                sys.exit(f"{path}: {test} is not named after {self.trap}")

    def _take(self, key, value):
        if key == "mistake":
            self.mistake = value
        elif key == "test":
            self.tests.append(tuple(value.split()))
        elif key == "fails":
            self.kinds = {kind.strip() for kind in value.split(",")}
            if not self.kinds <= KINDS:
                sys.exit(f"{self.patch}: fails: any of {', '.join(sorted(KINDS))}")
        elif key == "seconds":
            self.seconds = int(value)
        elif key == "note":
            self.note = value
        else:
            self.patch = os.path.join(os.path.dirname(self.patch), value)

    def files(self):
        with open(self.patch) as lines:
            return [line[len("+++ b/"):].split()[0] for line in lines if line.startswith("+++ b/")]


def run_test(tree, binary, test, seconds):
    """One of passed, assertion, crash, hang, missing; and the end of what the test printed."""
    code, output = tree.run(f"exec {tree.test_binary(binary)} --gtest_filter={test}", seconds)
    tail = "\n".join(output.splitlines()[-12:])
    if code is None:
        return "hang", tail
    if "Running 1 test from" not in output:
        return "missing", tail
    if code == 0:
        return "passed", tail
    return ("assertion" if f"[  FAILED  ] {test}" in output else "crash"), tail


def put_in(tree, mistake):
    """Applies the patch; returns what undoes it."""
    originals = {}
    for name in mistake.files():
        if not name.startswith("src/"):
            sys.exit(f"{mistake.patch}: a mistake is made in src/, not in {name}")
        with open(tree.file(name)) as source:
            originals[name] = source.read()
    code, output = tree.run(f"GIT_CEILING_DIRECTORIES={os.path.dirname(tree.path)} git apply {mistake.patch}", 60)

    def undo():
        for name, text in originals.items():
            with open(tree.file(name), "w") as source:
                source.write(text)
    if code != 0:
        undo()
        return None, output
    return undo, ""


def named_tests():
    """Trap -> named tests, over all tests/*/*_test.cc."""
    named = {}
    for path in glob.glob(f"{root()}/tests/*/*_test.cc"):
        with open(path) as source:
            for suite, test in re.findall(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", source.read(), re.MULTILINE):
                for trap in re.findall(r"(?<![A-Za-z0-9])T\d\d(?=_)", test):
                    named.setdefault(trap, []).append(f"{suite}.{test}")
    return named


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="traps or names of patches; all if none is given")
    parser.add_argument("--tree", help="where the copy is, or shall be, and stays")
    parser.add_argument("--seconds", type=int, default=60, help="limit of one test run, unless the mistake names its own")
    options = parser.parse_args()
    mistakes = [Mistake(path) for path in sorted(glob.glob(f"{HERE}/traps/*.patch"))]
    missing = [name for name in options.only if not any(name in (m.trap, m.name) for m in mistakes)]
    if missing:
        sys.exit(f"no mistake in {HERE}/traps for {', '.join(missing)}")
    if options.only:
        mistakes = [m for m in mistakes if m.trap in options.only or m.name in options.only]

    started = time.monotonic()
    rows, bad = [], 0
    with TreeCopy(options.tree) as tree:
        binaries = sorted({binary for m in mistakes for binary, _ in m.tests})
        code, output = tree.configure()
        if code == 0:
            code, output = tree.build(binaries)
        if code != 0:
            sys.exit(f"{output[-4000:]}\nthe tree does not build without any mistake")
        sound = {}
        for binary, test in sorted({test for m in mistakes for test in m.tests}):
            outcome, tail = run_test(tree, binary, test, options.seconds)
            sound[test] = outcome == "passed"
            if not sound[test]:
                print(f"{test} without any mistake: {outcome}\n{tail}", flush=True)
        print(f"without any mistake: {sum(sound.values())} of {len(sound)} tests pass ({time.monotonic() - started:.0f} s)", flush=True)

        for m in mistakes:
            undo, output = put_in(tree, m)
            if undo is None:
                rows += [(m, test, "no: the patch does not apply") for _, test in m.tests]
                print(f"{m.name}: the patch does not apply\n{output}", flush=True)
                continue
            built, output = tree.build(sorted({binary for binary, _ in m.tests}))
            if built != 0:
                print(f"{m.name}: does not compile\n{output[-3000:]}", flush=True)
            for binary, test in m.tests:
                outcome, tail = run_test(tree, binary, test, m.seconds or options.seconds) if built == 0 else ("not compiled", "")
                seen = outcome in m.kinds and sound[test]
                rows.append((m, test, f"yes: {outcome}" if seen else f"no: {outcome}"))
                print(f"{m.name}: {test}: {rows[-1][2]}", flush=True)
                if not seen:
                    print(tail, flush=True)
            undo()

    print("\n| trap | the mistake | test | seen failing |\n|---|---|---|---|")
    for m, test, seen in rows:
        print(f"| {m.trap} | {m.mistake}{' (' + m.note + ')' if m.note else ''} | {test} | {seen} |")
        bad += seen.startswith("no")
    traps = {m.trap for m in mistakes}
    failed = {m.trap for m, _, seen in rows if seen.startswith("yes")}
    print(f"\n{len(traps)} traps, {len(failed)} of them seen failing; {len(mistakes)} mistakes, {len(rows)} tests run with one, "
          f"{len(rows) - bad} seen failing; {time.monotonic() - started:.0f} s")
    if not options.only:
        tried = {test for _, test, _ in rows}
        left = {trap: [test for test in tests if test not in tried] for trap, tests in sorted(named_tests().items())}
        print("named tests that no mistake here is meant for:")
        for trap, tests in left.items():
            if tests:
                print(f"  {trap}{'' if trap in traps else ' (no mistake at all)'}: {', '.join(tests)}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
