#!/usr/bin/python3
"""Proves that the build refuses wrong arrows: each library is asked, with the include paths that its own sources get, to
include a header of every other library and one of RocksDB. What docs/architecture.md allows must be found, all else must
fail."""
import concurrent.futures
import glob
import os
import subprocess
import sys

COMPILER, SOURCE, INCLUDES = sys.argv[1:]

# Direct arrows; what they lead to is allowed too.
ARROWS = {
    "common": [],
    "document": ["common"],
    "routing": ["common"],
    "rpc": ["common"],
    "raft": ["common"],
    "replication": ["raft", "rpc"],
    "storage": ["document"],
    "shard": ["replication", "storage", "routing"],
    "migration": ["document", "routing", "rpc"],
    "metadata": ["replication", "migration"],
    "proxy": ["document", "routing", "rpc"],
    "client": ["document", "rpc"],
    "tools": ["client", "routing"],
}
# Named by the architecture as what must never be: roles do not include each other.
NEVER = [("proxy", "shard"), ("shard", "proxy"), ("shard", "metadata"), ("proxy", "metadata"), ("client", "proxy"),
         ("migration", "metadata"), ("migration", "shard"), ("raft", "replication"), ("common", "document")]


def reachable(library):
    found = {library}
    for other in ARROWS[library]:
        found |= reachable(other)
    return found


def preprocess(library, header):
    """None if the header can be included, else what the compiler said."""
    with open(os.path.join(INCLUDES, library)) as file:
        paths = [line for line in file.read().split("\n") if line]
    command = [COMPILER, "-std=c++20", "-E", "-x", "c++", "-", "-o", os.devnull]
    for path in paths:
        command += ["-I", path]
    run = subprocess.run(command, input=f'#include "{header}"\n', capture_output=True, text=True)
    return None if run.returncode == 0 else run.stderr


# Where the smallest header is an inner one.
PUBLIC = {"storage": "storage/digest.h"}


def header_of(library):
    """One with few includes, to be quick: a wrong arrow is found at the first line anyway."""
    headers = sorted(glob.glob(f"{SOURCE}/src/{library}/*.h"), key=os.path.getsize)
    return PUBLIC.get(library) or (os.path.relpath(headers[0], f"{SOURCE}/src") if headers else None)


built = set(os.listdir(INCLUDES))
cases = []  # library, header, allowed, what a refusal must say
for library in sorted(built & ARROWS.keys()):
    for other in sorted(ARROWS):
        header = header_of(other)
        if header and other != library:
            cases.append((library, header, other in reachable(library), f"{header}: No such file"))
    cases.append((library, "rocksdb/db.h", library == "storage", "only src/storage may include rocksdb/"))

for pair in NEVER:
    assert pair[1] not in reachable(pair[0]), pair

wrong = []
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for (library, header, allowed, said), error in zip(cases, pool.map(lambda case: preprocess(*case[:2]), cases)):
        if allowed and error is not None:
            wrong.append(f"src/{library} can not include {header}, but may:\n{error}")
        elif not allowed and error is None:
            wrong.append(f"src/{library} can include {header}, but must not")
        elif not allowed and said not in error:
            wrong.append(f"src/{library} with {header} fails for another reason:\n{error}")

refused = sum(not allowed for _, _, allowed, _ in cases)
print(f"{len(cases)} includes tried, {refused} of them wrong arrows that must be refused, {len(built)} libraries")
if ("proxy" in built) and not any(case[0] == "proxy" and case[1].startswith("shard/") and not case[2] for case in cases):
    wrong.append("proxy -> shard was not tried")
for text in wrong:
    print("WRONG:", text)
sys.exit(1 if wrong else 0)
