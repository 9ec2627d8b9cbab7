"""The command line: ``python -m inpaintkit course`` or ``python -m inpaintkit effects``."""

import argparse
import sys


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inpaintkit", description=__doc__)
    parser.add_argument("command", choices=["course", "effects"], help="run all notebooks | run the further trainings")
    command = parser.parse_args().command
    if command == "course":
        from inpaintkit import course  # papermill is not needed for anything else

        return course.main()
    from inpaintkit import effects

    return effects.main()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninpaintkit: stopped; run the same command to continue.")
