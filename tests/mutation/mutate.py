#!/usr/bin/python3
"""Changes one random line of a pure core at a time and asks whether the tests notice.

Works on a copy of the tree with a build directory of its own, so that nothing of yours is touched:
  tests/mutation/mutate.py --seed 1 --count 20 [--folders raft routing metadata migration document]
Prints each mutant with its outcome: killed (a test failed, or hung), not compiled (drawn again), survived. A survivor is a
missing test or an equivalent change: look at it. The same seed on the same tree draws the same mutants.
"""
import argparse
import glob
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

# A mutation is a pattern and what replaces one occurrence of it.
OPERATORS = [
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "), (r" != ", " == "),
    (r" && ", " || "), (r" \|\| ", " && "), (r" \+ 1\b", ""), (r" - 1\b", ""), (r" \+ ", " - "), (r" - ", " + "),
    (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"\+\+", "--"), (r"\bif \(!", "if ("), (r"\bif \((?!!)", "if (!"),
    (r"\+= ", "-= "), (r"\bbreak;", ";"), (r"\bcontinue;", ";"), (r"std::max\b", "std::min"), (r"std::min\b", "std::max"),
    (r"\b0\b", "1"), (r"\b1\b", "2"), (r"^(\s+)[a-z_]\w*(?:\.|->)\w+\(.*\);$", r"\1;"),
]


def candidates(path):
    in_block = False
    with open(path) as source:
        for number, line in enumerate(source):
            text = line.split("//")[0]
            if not text.strip() or text.lstrip().startswith(("#", "namespace", "using", "static_assert")):
                continue
            if "TERRANE_CHECK" in text or "LogInfo" in text or '"' in text and re.search(r"StrCat|InvalidArgument|Internal\(", text):
                continue  # messages, not decisions
            for pattern, replacement in OPERATORS:
                for match in re.finditer(pattern, text):
                    yield number, match.span(), match.expand(replacement)


def run(command, tree, seconds):
    try:
        return subprocess.run(command, cwd=tree, shell=True, capture_output=True, text=True, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        return -1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=300, help="limit of one test run")
    parser.add_argument("--folders", nargs="*", default=["raft", "routing", "metadata", "migration", "document"])
    parser.add_argument("--also", default="", help="ctest pattern of more tests that may kill, e.g. simulation")
    options = parser.parse_args()
    root = subprocess.check_output(["git", "rev-parse", "--show-toplevel"], text=True).strip()
    tree = tempfile.mkdtemp(prefix="terrane-mutants-")
    subprocess.run(f"git ls-files -z | xargs -0 cp --parents -t {tree}", cwd=root, shell=True, check=True)
    tests = " ".join(f"{folder}_test" for folder in options.folders)
    if run(f"cmake --preset release && ninja -C build/release {tests}", tree, 3600) != 0:
        sys.exit("the tree does not build")
    drawn = random.Random(options.seed)
    files = sorted(path for folder in options.folders for path in glob.glob(f"{tree}/src/{folder}/*.cc"))
    sites = [(path, *site) for path in files for site in candidates(path)]
    killed = survived = 0
    while killed + survived < options.count:
        path, number, (start, end), replacement = drawn.choice(sites)
        name = os.path.relpath(path, tree)
        with open(path) as source:
            lines = source.read().split("\n")
        original = lines[number]
        lines[number] = original[:start] + replacement + original[end:]
        shutil.copy(path, path + ".original")
        with open(path, "w") as source:
            source.write("\n".join(lines))
        folder = name.split("/")[1]
        if run(f"ninja -C build/release {folder}_test", tree, 900) != 0:
            outcome = "not compiled"
        elif run(f"build/release/tests/{folder}/{folder}_test --gtest_brief=1 || false", tree, options.seconds) != 0:
            outcome = "killed"
        elif options.also and run(f"ninja -C build/release && ctest --test-dir build/release -R '{options.also}'", tree, 1800) != 0:
            outcome = "killed"
        else:
            outcome = "survived"
        killed += outcome == "killed"
        survived += outcome == "survived"
        print(f"{outcome:12} {name}:{number + 1}\n    - {original.strip()}\n    + {lines[number].strip()}", flush=True)
        os.replace(path + ".original", path)
        os.utime(path)
    print(f"{killed} of {killed + survived} mutants killed (seed {options.seed})")
    shutil.rmtree(tree)


if __name__ == "__main__":
    main()
