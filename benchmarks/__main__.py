"""`python -m benchmarks [names] [--quick]`: run races and write RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import description
from benchmarks.race import Bench, Failed

NAMES = ("attention", "corpus", "generation", "growth", "prediction", "training")
_RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    """Run the named benchmarks, all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(NAMES)} (all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run? Nothing is written")
    parser.add_argument("--gigabytes", type=float, help="size of the corpus (1; quick: 0.05)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender (5; fewer give no ratio)")
    parser.add_argument("--out", type=Path, help="file to write (benchmarks/RESULTS.md)")
    given = parser.parse_args()
    names = given.names or list(NAMES)
    if wrong := sorted(set(names) - set(NAMES)):
        parser.error(f"there is no benchmark {', '.join(wrong)}; there are {', '.join(NAMES)}")
    gigabytes = given.gigabytes or (0.05 if given.quick else 1.0)
    if shutil.disk_usage(tempfile.gettempdir()).free < 4e9 + 4e9 * gigabytes:
        parser.error(f"{tempfile.gettempdir()} needs {4 + 4 * gigabytes:.0f} GB free for a while; set TMPDIR")

    lines: list[str] = []
    out = given.out or (None if given.quick else _RESULTS)

    def report(text: str) -> None:
        lines.append(text)
        print(text, flush=True)
        if out:
            out.write_text("\n".join(lines), encoding="utf-8")

    report("# Benchmarks\n")
    report(f"Written by `{_command()}`; what is compared, and how: [README.md](README.md).\n")
    report("\n".join(description()) + "\n")
    failed, rounds = False, 1 if given.quick else given.rounds
    with tempfile.TemporaryDirectory(prefix="patchword-benchmarks-") as folder:
        bench = Bench(Path(folder), given.quick, report, out.parent if out else None, gigabytes, rounds)
        for name in names:
            part = bench.part(name)
            began = bench.now()
            try:
                importlib.import_module(f"benchmarks.{name}").main(part)
            except Failed as error:
                failed = True
                part.tell(f"{name}: {error}")
                report(f"{name}: failed ({str(error).split(':')[0]}).\n")
            report(f"({name}: {bench.now() - began:.0f} seconds.)\n")
            shutil.rmtree(part.folder, ignore_errors=True)
    return int(failed)


def _command() -> str:
    """The command, without folders of this machine."""
    words, skip = [], False
    for word in sys.argv[1:]:
        if not skip and word != "--out" and not word.startswith("--out="):
            words.append(word)
        skip = word == "--out"
    return " ".join(["python -m benchmarks", *words])


if __name__ == "__main__":
    sys.exit(main())
