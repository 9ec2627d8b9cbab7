"""The command line: ``python -m inpaintkit course``, ``effects``, ``fetch NAME``, ``doctor``, ``repair PHOTO MASK``, or
``sweep NAME=FOLDER``.
"""

import argparse
import ast
import contextlib
import sys
import warnings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inpaintkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("course", help="run all notebooks")
    commands.add_parser("effects", help="run the further trainings")
    fetch = commands.add_parser("fetch", help="fetch the papers' data sets, once")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="which; none: list them all")
    fetch.add_argument("--data-dir", help="a folder that may hold them already")
    fetch.add_argument("--source", help="kaggle:OWNER/NAME or the address of an archive, instead of the usual sources")
    doctor = commands.add_parser("doctor", help="say what this machine can run; paste it into a question")
    doctor.add_argument("--data-dir", help="a folder to look for data sets in")
    repair = commands.add_parser("repair", help="repair your own photograph")
    repair.add_argument("photo", help="the damaged photograph")
    repair.add_argument("mask", help="a picture of the same size, white where the photograph is to be repaired")
    repair.add_argument("-o", "--out", default="Inpainted_Output.png", help="the repaired file (default: %(default)s)")
    repair.add_argument(
        "--method",
        default="telea",
        help="mean, ring, box, harmonic, biharmonic, telea, navier-stokes, patch, frequency or network "
        "(default: %(default)s)",
    )
    repair.add_argument("--run", metavar="FOLDER", help="for network: the folder in which notebook 03 trained")
    sweep = commands.add_parser("sweep", help="train SSRGAN (notebook 04) at every level of lost pixels")
    sweep.add_argument(
        "data", nargs="+", metavar="NAME=FOLDER", help="folders of pictures, and a name for each; or named data sets"
    )
    sweep.add_argument(
        "--levels", nargs="+", type=float, help="shares of lost pixels (default: the paper's, 0.3 to 0.8)"
    )
    sweep.add_argument("--seeds", nargs="+", type=int, default=[0], help="(default: 0)")
    sweep.add_argument("--out", help="where each run gets a folder (default: runs/sweep)")
    sweep.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("PARAMETER", "VALUE"), help="one of notebook 04's, for all"
    )
    given = parser.parse_args(arguments)
    warnings.formatwarning = lambda message, *where: f"inpaintkit: {message}\n"  # the user did not write the code
    if given.command in _FOR_PEOPLE:
        try:
            return _FOR_PEOPLE[given.command](given)
        except (ValueError, OSError) as error:
            return _sorry(error)
    if given.command == "course":
        from inpaintkit import course  # papermill is not needed for anything else

        return course.main()
    from inpaintkit import effects

    return effects.main()


def _sorry(error: Exception) -> int:
    print(f"inpaintkit: {error}", file=sys.stderr)
    return 2


def _fetch(given) -> int:
    from inpaintkit import doctor
    from inpaintkit.data import sources

    if not given.names:
        print("\n".join(doctor.data_sets(doctor.find_all(given.data_dir))))
    failed = 0
    for name in given.names:  # one that fails does not keep the others from being fetched
        try:
            if name not in sources.known():
                raise ValueError(f"{name!r} is not one of {', '.join(sources.known())}.")
            found = sources.fetch(name, given.source) if given.source else sources.obtain(name, given.data_dir)
        except (ValueError, OSError) as error:
            failed = _sorry(error)
        else:
            print(f"{name}: {len(found[1]):,} of {sources.known()[name]['pictures']:,} pictures in {found[0]}")
    return failed


def _doctor(given) -> int:
    from inpaintkit import doctor

    print(doctor.page(given.data_dir))
    return 0


def _repair(given) -> int:
    from inpaintkit import repair

    filler = repair.method(given.method, given.run)
    done = repair.repair_file(given.photo, given.mask, given.out, filler)
    holes = "1 hole" if done["holes"] == 1 else f"{done['holes']:,} holes"
    print(
        f"{given.out} is written: {holes}, {done['share']:.2%} of the picture, filled by {filler.name} "
        f"in {done['seconds']:.1f} s."
    )
    return 0


def _sweep(given) -> int:
    from inpaintkit import sweep

    parameters = {}
    for name, value in given.p:
        parameters[name] = value
        with contextlib.suppress(ValueError, SyntaxError):  # a word: it stays a text
            parameters[name] = ast.literal_eval(value)
    sweep.main(given.data, given.levels or sweep.ssrgan.LEVELS, given.seeds, given.out, parameters)
    return 0


# Commands that take what people type: what is wrong with it is one sentence for them, not a traceback.
_FOR_PEOPLE = {"fetch": _fetch, "doctor": _doctor, "repair": _repair, "sweep": _sweep}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninpaintkit: stopped; run the same command to continue.")
