#!/usr/bin/python3
"""Recounts every acknowledged write of a demo run.

Reads the journals that the clients wrote and every document of the collection through the public API, with Python's gRPC and
stubs made from proto/: it shares no code with the clients, with the proxy or with the shards.

A journal line is one acknowledged effect, in the order in which its client saw the acknowledgements:
  I <id> <v>    inserted with value v        S <id> <v>    set to value v
  D <id>        deleted                      C <id> <n>    counter raised by n (any number of clients)
An id is a JSON value without spaces. Each id but the counters' belongs to one client.

Prints one JSON object: {"documents", "acknowledged_writes", "lost", "duplicated", "wrong", "examples"}.
Exit 0 if nothing was lost, duplicated or wrong, 1 if something was, 2 if it could not be found out.
"""
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the demonstration's to explain

import argparse
import glob
import json
import os
import subprocess
import sys

import grpc


def make_stubs(proto_dir, out):
    os.makedirs(out, exist_ok=True)
    protos = [os.path.join(proto_dir, "terrane/v1", name) for name in ("common.proto", "documents.proto")]
    plugin = subprocess.run(["which", "grpc_python_plugin"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["protoc", "-I", proto_dir, f"--python_out={out}", f"--grpc_out={out}",
                    f"--plugin=protoc-gen-grpc={plugin}", *protos], check=True)
    sys.path.insert(0, out)


def seal(number):
    """What the field `seal` of the generated order `number` must be."""
    return (number * 2654435761 + 97) % 4294967296


class Expectation:
    def __init__(self, generated):
        self.generated = generated   # ids 0 .. generated-1 were imported with v = 0
        self.value = {}              # id -> value, or None when deleted
        self.counter = {}            # id -> sum of acknowledged increments
        self.acknowledged = generated

    def read(self, path):
        with open(path) as journal:
            for line in journal:
                if not line.endswith("\n"):
                    break            # the client ended inside of a line: that effect was not acknowledged
                op, ident, *rest = line.split()
                ident = json.loads(ident)
                self.acknowledged += 1
                if op in ("I", "S"):
                    self.value[ident] = int(rest[0])
                elif op == "D":
                    self.value[ident] = None
                elif op == "C":
                    self.counter[ident] = self.counter.get(ident, 0) + int(rest[0])
                else:
                    raise ValueError(f"{path}: unknown operation {op}")


def find_all(proxy, collection):
    from terrane.v1 import common_pb2, documents_pb2, documents_pb2_grpc
    channel = grpc.insecure_channel(proxy, options=[("grpc.max_receive_message_length", 64 << 20)])
    stub = documents_pb2_grpc.DocumentsStub(channel)
    request = documents_pb2.FindRequest(collection=collection, format=common_pb2.EXTENDED_JSON)
    for answer in stub.Find(request, timeout=1800):
        for document in answer.documents:
            yield json.loads(document)


def recount(expected, documents):
    counts = {"documents": 0, "lost": 0, "duplicated": 0, "wrong": 0}
    examples = []

    def report(kind, text):
        counts[kind] += 1
        if len(examples) < 10:
            examples.append(f"{kind}: {text}")

    seen = set()
    for document in documents:
        counts["documents"] += 1
        ident = document["_id"]
        if ident in seen:
            report("duplicated", f"_id {ident!r} was found twice")
            continue
        seen.add(ident)
        if ident in expected.counter:
            if document.get("n") != expected.counter[ident]:
                report("wrong", f"counter {ident!r} is {document.get('n')}, acknowledged were {expected.counter[ident]}")
            continue
        if isinstance(ident, int):
            if document.get("seal") != seal(ident):
                report("wrong", f"order {ident} is not what was imported: {document}")
            value = expected.value.get(ident, 0 if ident < expected.generated else None)
        elif ident in expected.value:
            value = expected.value[ident]
        else:
            report("wrong", f"_id {ident!r} was never acknowledged by anybody")
            continue
        if value is None:
            report("wrong", f"_id {ident!r} is there, its deletion was acknowledged")
        elif document.get("v") != value:
            report("wrong", f"_id {ident!r} has v = {document.get('v')}, acknowledged was {value}")
    for ident in range(expected.generated):
        if ident not in seen and expected.value.get(ident, 0) is not None:
            report("lost", f"order {ident}")
    for ident, value in expected.value.items():
        if value is not None and ident not in seen and not (isinstance(ident, int) and ident < expected.generated):
            report("lost", f"_id {ident!r} with v = {value}")
    for ident, count in expected.counter.items():
        if ident not in seen and count:
            report("lost", f"counter {ident!r} with {count} acknowledged increments")
    return counts, examples


def main():
    parser = argparse.ArgumentParser(description="Recounts every acknowledged write of a demo run.")
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--generated", type=int, required=True, help="orders that were imported, _id 0 ..")
    parser.add_argument("--journals", required=True, help="directory of *.journal")
    parser.add_argument("--proto", required=True, help="directory that contains terrane/v1")
    options = parser.parse_args()
    make_stubs(options.proto, os.path.join(options.journals, "stubs"))  # goes with the journals
    expected = Expectation(options.generated)
    for path in sorted(glob.glob(os.path.join(options.journals, "*.journal"))):
        expected.read(path)
    try:
        counts, examples = recount(expected, find_all(options.proxy, options.collection))
    except grpc.RpcError as error:
        print(f"recount: reading {options.collection} failed: {error.code().name} {error.details()}", file=sys.stderr)
        return 2
    counts["acknowledged_writes"] = expected.acknowledged
    counts["examples"] = examples
    print(json.dumps(counts))
    return 1 if counts["lost"] or counts["duplicated"] or counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
