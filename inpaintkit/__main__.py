"""The command line: ``python -m inpaintkit course``, ``effects``, or ``repair PHOTO MASK``."""

import argparse
import sys
import warnings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inpaintkit", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("course", help="run all notebooks")
    commands.add_parser("effects", help="run the further trainings")
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
    given = parser.parse_args(arguments)
    if given.command == "repair":
        return _repair(given)
    if given.command == "course":
        from inpaintkit import course  # papermill is not needed for anything else

        return course.main()
    from inpaintkit import effects

    return effects.main()


def _repair(given) -> int:
    from inpaintkit import repair

    warnings.formatwarning = lambda message, *where: f"inpaintkit: {message}\n"  # the user did not write the code
    try:
        filler = repair.method(given.method, given.run)
        done = repair.repair_file(given.photo, given.mask, given.out, filler)
    except (ValueError, OSError) as error:
        print(f"inpaintkit: {error}", file=sys.stderr)
        return 2
    holes = "1 hole" if done["holes"] == 1 else f"{done['holes']:,} holes"
    print(
        f"{given.out} is written: {holes}, {done['share']:.2%} of the picture, filled by {filler.name} "
        f"in {done['seconds']:.1f} s."
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninpaintkit: stopped; run the same command to continue.")
