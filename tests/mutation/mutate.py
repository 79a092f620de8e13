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
import sys

from tree_copy import TreeCopy

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=300, help="limit of one test run")
    parser.add_argument("--folders", nargs="*", default=["raft", "routing", "metadata", "migration", "document"])
    parser.add_argument("--also", default="", help="ctest pattern of more tests that may kill, e.g. simulation")
    options = parser.parse_args()
    with TreeCopy() as tree:
        mutate(tree, options)


def mutate(tree, options):
    def fails(command, seconds):
        return tree.run(command, seconds)[0] != 0

    if tree.configure()[0] != 0 or tree.build([f"{folder}_test" for folder in options.folders])[0] != 0:
        sys.exit("the tree does not build")
    drawn = random.Random(options.seed)
    files = sorted(path for folder in options.folders for path in glob.glob(f"{tree.path}/src/{folder}/*.cc"))
    sites = [(path, *site) for path in files for site in candidates(path)]
    killed = survived = 0
    while killed + survived < options.count:
        path, number, (start, end), replacement = drawn.choice(sites)
        name = os.path.relpath(path, tree.path)
        with open(path) as source:
            text = source.read()
        lines = text.split("\n")
        original = lines[number]
        lines[number] = original[:start] + replacement + original[end:]
        with open(path, "w") as source:
            source.write("\n".join(lines))
        test = f"{name.split('/')[1]}_test"
        if tree.build([test], 900)[0] != 0:
            outcome = "not compiled"
        elif fails(f"{tree.test_binary(test)} --gtest_brief=1", options.seconds):
            outcome = "killed"
        elif options.also and fails(f"ninja -C build/release && ctest --test-dir build/release -R '{options.also}'", 1800):
            outcome = "killed"
        else:
            outcome = "survived"
        killed += outcome == "killed"
        survived += outcome == "survived"
        print(f"{outcome:12} {name}:{number + 1}\n    - {original.strip()}\n    + {lines[number].strip()}", flush=True)
        with open(path, "w") as source:
            source.write(text)
    print(f"{killed} of {killed + survived} mutants killed (seed {options.seed})")


if __name__ == "__main__":
    main()
