"""Runs a benchmark with --quick; its output must be figures, one JSON object a line.

    smoke_test.py PROGRAM [ARGUMENT...]
"""
import json
import subprocess
import sys

FIELDS = {
    "name": str,
    "unit": str,
    "ours": (int, float),
    "baseline": (int, float, type(None)),
    "ratio": (int, float, type(None)),
    "runs": int,
    "iqr": (list, type(None)),
    "target": (str, type(None)),
    "ok": (bool, type(None)),
    "load": (int, float),
}


def main():
    done = subprocess.run([*sys.argv[1:], "--quick"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{sys.argv[1]} ended with {done.returncode}")
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    if not figures:
        sys.exit("no figure was printed")
    for figure in figures:
        for field, types in FIELDS.items():
            if field not in figure or not isinstance(figure[field], types):
                sys.exit(f"field '{field}' is missing or of another type in {figure}")
        if set(figure) != set(FIELDS):
            sys.exit(f"unknown fields in {figure}")
        if (figure["target"] is None) != (figure["ok"] is None):
            sys.exit(f"a target without an answer, or the other way round, in {figure}")
    names = [figure["name"] for figure in figures]
    if len(set(names)) != len(names):
        sys.exit("two figures have one name")


main()
