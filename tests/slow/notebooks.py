"""Runs every notebook from top to bottom against a demo of its own: notebooks.py EXECUTABLE PYTHON.

PYTHON has requests, pandas, matplotlib, nbclient and ipykernel."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

RUN = """
import sys, nbformat, nbclient
book = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute()
print(sum(len(cell.get("outputs", [])) for cell in book.cells), "outputs")
"""


def main(executable, python):
    notebooks = sorted(pathlib.Path("notebooks").glob("*.ipynb"))
    assert notebooks, "no notebook found: run from the project's folder"
    with tempfile.TemporaryDirectory() as store, tempfile.TemporaryFile("w+") as log:
        # Thirteen months, so that there are past months to judge forecasts by and rows to train on.
        demo = [executable, "--store", store, "demo", "--rate", "0", "--accounts", "200", "--days", "400"]
        server = subprocess.Popen(demo, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            url = key = None
            for line in server.stdout:
                found = re.search(r"--server (\S+) --key (\S+)", line)
                if found:
                    url, key = found.groups()
                    break
            assert key, "the demo ended before it printed its address"
            environment = {**os.environ, "REVGAUGE_URL": url, "REVGAUGE_KEY": key}
            for notebook in notebooks:
                done = subprocess.run([python, "-c", RUN, notebook], env=environment, capture_output=True, text=True)
                assert done.returncode == 0, f"{notebook} failed:\n{done.stderr[-4000:]}"
                print(f"{notebook}: {done.stdout.strip()}")
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
