#!/usr/bin/python3
"""Runs the programs of docs/clients.md, as they stand there, against a local cluster."""
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.path.abspath(sys.argv[1])
TERRANE = os.path.abspath(sys.argv[2])


def block(language):
    with open(os.path.join(SOURCE, "docs/clients.md")) as page:
        return re.search(rf"```{language}\n(.*?)```", page.read(), re.S).group(1)


def run(*command, **options):
    print("+", " ".join(command), flush=True)
    subprocess.run(command, check=True, **options)


with tempfile.TemporaryDirectory(prefix="terrane-clients-") as work:
    cluster = os.path.join(work, "cluster")
    try:
        run(TERRANE, "cluster", "start", "--dir", cluster, "--shards", "2")
        import json
        status = json.loads(subprocess.check_output([TERRANE, "cluster", "status", "--dir", cluster, "--json"]))
        proxy = next(process["endpoint"] for process in status["processes"] if process["role"] == "proxy")
        os.mkdir(os.path.join(work, "stubs"))
        environment = dict(os.environ, TERRANE_PROXY=proxy, STUBS=os.path.join(work, "stubs"),
                           PROTO=os.path.join(SOURCE, "proto"))

        run("sh", "-c", block("sh").replace("-I proto", f"-I {SOURCE}/proto").replace("proto/terrane", f"{SOURCE}/proto/terrane")
            .replace("=stubs", f"={work}/stubs"))
        with open(os.path.join(work, "client.py"), "w") as program:
            program.write(block("python"))
        run("/usr/bin/python3", "client.py", cwd=work, env=environment)

        with open(os.path.join(work, "client.js"), "w") as program:
            program.write(block("javascript"))
        for name in ("package.json", "package-lock.json"):
            with open(os.path.join(SOURCE, "tests/clients", name)) as source, open(os.path.join(work, name), "w") as copy:
                copy.write(source.read())
        run("npm", "ci", "--no-audit", "--no-fund", "--silent", cwd=work)
        run("node", "client.js", cwd=work, env=environment)
    finally:
        run(TERRANE, "cluster", "stop", "--dir", cluster)
