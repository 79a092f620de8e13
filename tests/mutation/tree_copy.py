"""A copy of the tree with a build directory of its own, in which mistakes are made on purpose."""
import filecmp
import os
import shutil
import signal
import subprocess
import tempfile

PRESET = "release"
MEMORY_KB = 8000000  # a mistake may well be one that allocates for ever


def root():
    """The tree that is copied: the one that this file lies in."""
    return subprocess.check_output(["git", "rev-parse", "--show-toplevel"], cwd=os.path.dirname(os.path.abspath(__file__)),
                                   text=True).strip()


class TreeCopy:
    """Use as a context: a copy without `directory` is removed at the end; one with it is kept, and brought up to date."""

    def __init__(self, directory=None):
        self.kept = directory is not None
        self.path = os.path.abspath(directory) if directory else tempfile.mkdtemp(prefix="terrane-mutants-")
        self._update(root())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.kept:
            shutil.rmtree(self.path)

    def _update(self, origin):
        listed = subprocess.check_output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=origin)
        names = {name for name in listed.decode().split("\0") if name and os.path.isfile(os.path.join(origin, name))}
        for folder, folders, files in os.walk(self.path):
            if folder == self.path:
                folders[:] = [name for name in folders if name != "build"]
            for file in files:
                path = os.path.join(folder, file)
                if os.path.relpath(path, self.path) not in names:
                    os.remove(path)
        for name in names:
            source, copy = os.path.join(origin, name), os.path.join(self.path, name)
            if os.path.exists(copy) and filecmp.cmp(source, copy, shallow=False):
                continue
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy(source, copy)
            os.utime(copy)

    def file(self, name):
        return os.path.join(self.path, name)

    def run(self, command, seconds):
        """Runs a shell command in the copy: (exit code as of subprocess, output). None as the code: `seconds` were over.

        Whatever it has started ends with it.
        """
        process = subprocess.Popen(f"ulimit -v {MEMORY_KB}; {command}", cwd=self.path, shell=True, text=True, errors="replace",
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   executable="/bin/bash", start_new_session=True)
        try:
            output, _ = process.communicate(timeout=seconds)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, process.communicate()[0]

    def configure(self):
        return self.run(f"cmake --preset {PRESET}", 600)

    def build(self, targets, seconds=3600):
        return self.run(f"ninja -C build/{PRESET} {' '.join(targets)}", seconds)

    def test_binary(self, name):
        """Path of the test binary <folder>_test, as ninja and a shell in the copy know it."""
        return f"build/{PRESET}/tests/{name.removesuffix('_test')}/{name}"
