"""Gather what `hmr study` measured into one file and one page of tables.

    hmr study adversary data ... --out OUT --records LSP_EXTENDED
    python benchmarks/studies.py OUT

The first takes hours on two cores, and goes on where it was stopped; LSP_EXTENDED are photographs
with pseudo poses (`hmr data fit`). The second writes `benchmarks/studies.md`, and what each run
measured to `hmrlib/training/assets/studies.json`, from where notebook 12 draws it. Studies that
are not finished are left out.
"""

import argparse
import json
from pathlib import Path

from hmrlib.io import atomic_write
from hmrlib.training import studies

HERE = Path(__file__).parent


def gather(out):
    """Study's name -> as `run_study` returns it; and the runs' files, by path."""
    measured, runs = {}, {}
    for name, study in studies.STUDIES.items():
        try:
            measured[name] = studies.read_study(study, out / name)
        except studies.StudyError as error:
            print(f"left out: {error}")
            continue
        for key in measured[name]:
            paths = [out / name / f"{key}-{seed}.json" for seed in studies.SEEDS]
            runs |= {path: studies.read_run(path) for path in paths}
    return measured, runs


def check_setting(runs):
    """Every run is of the small setting, but for what its variant changes."""
    for path, run in runs.items():
        key, _, seed = path.stem.rpartition("-")
        variant = studies.STUDIES[path.parent.name].variants[key]
        expected = studies.settings_of(variant, studies.StudyData(""), None, int(seed))
        for name in studies.SMALL.keys() - {"pictures"}:
            if getattr(expected, name) != run["settings"][name]:
                raise SystemExit(f"{path}: {name} is {run['settings'][name]}, not the small one")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", metavar="OUT", type=Path, help="of `hmr study`")
    measured, runs = gather(parser.parse_args(arguments).out)
    check_setting(runs)
    seconds = {
        json.dumps([run["settings"], run["learned"], run["pictures"]]): run["seconds"]
        for run in runs.values()
    }
    records = next(iter(runs.values()))["records"]
    how = {"setting": studies.SMALL, "records": records, "trainings": len(seconds)}
    with atomic_write(studies.RESULTS) as file:
        file.write(json.dumps({"how": how, "measured": measured}, indent=1).encode() + b"\n")
    tables = [
        f"## {name}\n\n{studies.table(studies.STUDIES[name], measured[name])}" for name in measured
    ]
    setting = {
        name: f"{value:,}" if type(value) is int else value for name, value in studies.SMALL.items()
    }
    rows = [f"| {name} | {value} |" for name, value in setting.items()]
    tables = ["\n".join(["| setting | value |", "|:--|:--|", *rows, ""]), *tables]
    samples = ", ".join(f"{count:,} of {name}" for name, count in records.items())
    head = (
        "# Studies\n\nWritten by `python benchmarks/studies.py`, of what `hmr study` measured: "
        f"{len(seconds)} trainings, {sum(seconds.values()) / 3600:.1f} hours of a core. To learn "
        f"from: {samples}.\n"
    )
    with atomic_write(HERE / "studies.md") as file:
        file.write("\n".join([head, *tables]).encode())
    print(f"{len(runs)} runs of {len(measured)} studies: {HERE / 'studies.md'}, {studies.RESULTS}")


if __name__ == "__main__":
    main()
