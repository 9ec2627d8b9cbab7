"""The command line: python -m inpaintkit COMMAND, with COMMAND one of those below; each has --help."""

import argparse
import importlib
import sys
import warnings
from collections import Counter
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; what is wrong with what people type is one sentence for them, not a traceback."""
    given = _parser().parse_args(arguments)
    warnings.formatwarning = lambda message, *_, **__: f"inpaintkit: {message}\n"  # the user did not write the code
    try:
        return given.function(given) or 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"inpaintkit: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "inpaintkit").startswith("inpaintkit"):  # our own fault
            raise
        print(f'inpaintkit: {error.name} is missing: pip install "inpaintkit[notebooks]"', file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m inpaintkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, function, words):
        one = commands.add_parser(name, help=words, description=words)
        one.set_defaults(function=function)
        return one

    command("course", lambda given: _app("course").main(), "run all notebooks")
    command("lab", lambda given: _app("lab").main(), "open copies of the notebooks in JupyterLab")
    one = command("run", _run, "train and score one work")
    one.add_argument("paper", help="autoencoder, vae, context_encoder, ssrgan, or another that is registered")
    one.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="of its notebook")
    one.add_argument("--out", help="the run's folder (default: one of its own below runs/)")
    one.add_argument("--slim", action="store_true", help="keep neither weights nor checkpoint")
    for name, words in (
        ("grid", "plan many runs; --run runs them"),
        ("effects", "run the questions of the demo, record them, test the claims"),
    ):
        one = command(name, _grid, words)
        one.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="changed in all runs")
        one.add_argument("--paper", default="all", help="a work, some with commas, or all")
        one.add_argument("--question", default="all", help="a question, some with commas, or all")
        one.add_argument("--profile", help="smoke, demo or paper (default: the questions' own)")
        one.add_argument("--seeds", nargs="+", type=int, help="(default: the questions' own)")
        one.add_argument("--out", type=Path, help="the folder of the runs (default: runs/effects)")
        one.add_argument("--at-once", type=int, default=2, help="runs at a time, one thread each (default: 2)")
        one.add_argument("--slurm", action="store_true", help="give the runs to Slurm (grid/slurm/config.yaml)")
        one.add_argument("--run", action="store_true", default=name == "effects", help="run the plan")
        one.add_argument("--dry-run", action="store_true", help="let Snakemake say what it would do")
    one = command("record", _record, "put finished runs into results/")
    one.add_argument("folder", nargs="?", type=Path, help="the folder of the runs (default: runs/effects)")
    command("report", _report, "write docs/reports/ and the README's numbers from results/")
    one = command("fetch", _fetch, "fetch the papers' data sets, once")
    one.add_argument("names", nargs="*", metavar="NAME", help="which; none: list them all")
    one.add_argument("--data-dir", help="a folder that may hold them already")
    one.add_argument("--source", help="kaggle:OWNER/NAME or the address of an archive, instead of the usual sources")
    words = "say what this machine can run; paste it into a question"
    one = command("doctor", lambda given: print(_app("doctor").page(given.data_dir)), words)
    one.add_argument("--data-dir", help="a folder to look for data sets in")
    one = command("repair", _repair, "repair your own photograph, or a folder of them")
    one.add_argument("photo", help="the damaged photograph, or a folder of photographs")
    words = "a picture of the same size, white where the photograph is to be repaired; for a folder: one mask for all, "
    one.add_argument("mask", help=words + "or a folder with a mask of the same name for each")
    words = "the repaired file (default: Inpainted_Output.png); for a folder, the folder of them (default: repaired)"
    one.add_argument("-o", "--out", help=words)
    words = "a classic fill, or network (default: %(default)s); --list-methods says what each does"
    one.add_argument("--method", default="telea", help=words)
    one.add_argument("--list-methods", action=_ListMethods, nargs=0, help="say what each method does, and end")
    words = "for network: a finished run, or a work (default: context_encoder)"
    one.add_argument("--run", metavar="FOLDER", help=words)
    words = "the hole grows by N pixels, 0 to 100: against the halo of an object that was painted over tightly"
    one.add_argument("--dilate", type=int, default=0, metavar="N", help=words)
    one.add_argument("--invert", action="store_true", help="repair what is black in the mask")
    return parser


class _ListMethods(argparse.Action):
    def __call__(self, parser, *_):
        print(_app("repair").methods())
        parser.exit()


def _app(name: str):
    return importlib.import_module(f"inpaintkit.apps.{name}")  # late: a command needs no other one's packages


def _run(given) -> int:
    from inpaintkit import parameters
    from inpaintkit.experiments.run import run

    record = run(given.paper, parameters.parse(given.parameters), given.out, slim=given.slim)
    own = [row for row in record["scores"] if row["holes"] == record["holes"] and row["part"] == "test"]
    first = next(row for row in own if "score" in row)
    for row in own:
        if row.get("score") == first["score"] and "mean" in row:
            print(f"{row['filler']:28} {row['score']} {row['mean']:.4f}")
    return 0


def _grid(given) -> int:
    from inpaintkit import parameters, runtime
    from inpaintkit.experiments import grid

    out = (given.out or runtime.runs_dir("effects")).absolute()
    changed = parameters.parse(given.parameters)
    jobs = grid.plan(given.paper, given.question, given.profile, given.seeds, changed, out)
    print(grid.describe(jobs, given.at_once), flush=True)
    if not (given.run or given.dry_run):
        print("nothing was run: add --run (make grid RUN=1)")
        return 0
    failed = grid.execute(jobs, out, at_once=given.at_once, slurm=given.slurm, dry=given.dry_run)
    for job in failed:
        print(f"not finished: {job.folder}: {job.why}")
    if given.command == "effects" and not given.dry_run:
        print("\n".join(grid.finish(jobs)))
    return 1 if failed else 0


def _record(given) -> int:
    from inpaintkit import papers, runtime
    from inpaintkit.experiments import records

    folder = given.folder or runtime.runs_dir("effects")
    for paper in papers.PAPERS.values():
        found = [path.parent for path in sorted((folder / paper.notebook).glob("*/results.json"))]
        if found:
            print(f"{paper.id}: {len(found)} runs in {records.record(records.collect(paper, found))}")
    return 0


def _report(given) -> int:
    from inpaintkit import papers
    from inpaintkit.experiments import report

    for paper in papers.PAPERS.values():
        print(report.write(paper))
    print(report.write_readme())
    return 0


def _fetch(given) -> int:
    from inpaintkit.data import sets

    doctor = _app("doctor")
    if not given.names:
        print("\n".join(doctor.data_sets(doctor.find_all(given.data_dir))))
    failed = 0
    for name in given.names:  # one that fails does not keep the others from being fetched
        try:
            if name not in sets.known():
                raise ValueError(f"{name!r} is not one of {', '.join(sets.known())}.")
            found = sets.fetch(name, given.source) if given.source else sets.obtain(name, given.data_dir)
        except (ValueError, OSError) as error:
            print(f"inpaintkit: {error}", file=sys.stderr)
            failed = 2
        else:
            print(f"{name}: {len(found[1]):,} of {sets.known()[name]['pictures']:,} pictures in {found[0]}")
    return failed


def _repair(given) -> int:
    repair = _app("repair")
    filler, options = repair.method(given.method, given.run), {"dilate": given.dilate, "invert": given.invert}
    if Path(given.photo).is_dir():
        out = given.out or "repaired"
        outcomes = repair.repair_folder(given.photo, given.mask, out, filler, **options)
        for name, what, words in outcomes:
            if words:
                print(f"{name}: {what}: {words}", file=sys.stderr)
        numbers = Counter(outcome.what for outcome in outcomes)
        print(f"{out}: {numbers['repaired']} repaired by {filler.label}, {numbers['kept']} kept, ", end="")
        print(f"{numbers['failed']} failed")
        return 1 if numbers["failed"] else 0
    out = given.out or "Inpainted_Output.png"
    done = repair.repair_file(given.photo, given.mask, out, filler, **options)
    holes = "1 hole" if done["holes"] == 1 else f"{done['holes']:,} holes"
    print(f"{out} is written: {holes}, {done['share']:.2%} of the picture, filled by {filler.label} ", end="")
    print(f"in {done['seconds']:.1f} s.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninpaintkit: stopped; run the same command to continue.")
