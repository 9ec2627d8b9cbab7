"""Makes .venv ready: checks the machine, installs what requirements.lock says, and does nothing the second time.

Run by every make target. Written so that any Python 3 can read it, because its first task is to say which one is
needed.
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "inpaintkit.stamp")  # written last: without it an installation counts as unfinished
BEGUN = os.path.join(VENV, "inpaintkit.begun")  # written first: without it the folder is not ours to replace
OLD = VENV + ".old"  # an environment on its way out; renamed first, so that a half-deleted one is never taken for .venv
PYTHON = os.path.join(VENV, "bin", "python")
UV = "uv==0.13.8"  # the installer; pinned because the lock is read with it

# Gigabytes to download, on disk afterwards, and free before it starts; Python 3.12, November 2026. Linux with CUDA:
# `pip download` of the lock and `du` of .venv; small (macOS, or Linux with TORCH=cpu): the macOS wheels, packed and
# unpacked.
SIZES = {
    "cuda": {"download": 3.1, "installed": 6.1, "free": 7},
    "small": {"download": 0.4, "installed": 1.2, "free": 2},
}


def stop(sentence):
    sys.exit("inpaintkit: " + sentence)


def run(command, why):
    """Runs one step of the installation; a failure ends with a sentence, the details are above it."""
    if subprocess.call(command, cwd=ROOT) != 0:
        stop(why)


def fingerprints(torch_build):
    """What the installation depends on: the kind of environment (a change makes a new one) and its contents."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "requirements.lock", "pyproject.toml", "tools/setup_env.py"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    kind = "python {}.{} torch {}".format(sys.version_info[0], sys.version_info[1], torch_build or "default")
    return kind, digest.hexdigest()


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path + ".part", "w") as file:
        file.write(text)
    os.replace(path + ".part", path)


def replace():
    os.rename(VENV, OLD)
    shutil.rmtree(OLD)


def main():
    version = sys.version_info[:2]
    if not (3, 10) <= version <= (3, 13):
        stop(
            "Python 3.10 to 3.13 is needed and this is {}.{}; name one, as in: make course PYTHON=python3.12".format(
                *version
            )
        )
    torch_build = os.environ.get("TORCH", "")
    if torch_build not in ("", "cpu"):
        stop("TORCH={} is not known; leave it out, or use TORCH=cpu for the small build.".format(torch_build))

    installed = read(STAMP).split("\n")[0]
    if not torch_build and installed.endswith("torch cpu"):
        torch_build = "cpu"  # `make lab` after `make course TORCH=cpu` is to keep what is there
    kind, contents = fingerprints(torch_build)
    if read(STAMP) == kind + "\n" + contents and os.path.exists(PYTHON):
        return
    shutil.rmtree(OLD, ignore_errors=True)
    if os.path.isdir(VENV):
        if not os.path.exists(BEGUN):
            stop("the folder .venv was not made by this command: move it away or delete it, then try again.")
        if not installed or not os.path.exists(PYTHON):
            print("inpaintkit: .venv holds an interrupted installation; starting it afresh (downloads are kept).")
            replace()
        elif installed != kind:
            print("inpaintkit: .venv is for {}; making one for {}.".format(installed, kind))
            replace()
        else:
            os.remove(STAMP)  # from here on it is unfinished until the new stamp is written

    size = SIZES["cuda" if sys.platform == "linux" and torch_build != "cpu" else "small"]
    print(
        "inpaintkit: setting up .venv: about {download} GB to download, {installed} GB on disk. "
        "Once; the next start is immediate.".format(**size)
    )
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < size["free"]:
        stop("{:.1f} GB are free here and {} GB are needed; make room or move the folder.".format(free, size["free"]))

    if not os.path.exists(PYTHON):
        try:
            import ensurepip  # noqa: F401  (Debian and Ubuntu ship Python without it)
            import venv  # noqa: F401
        except ImportError:
            stop(
                "this Python cannot make virtual environments; on Debian or Ubuntu: "
                "sudo apt install python{}.{}-venv".format(*version)
            )
        os.mkdir(VENV)
        write(BEGUN, kind)
        run([sys.executable, "-m", "venv", VENV], "the virtual environment could not be made; see above.")
    offline = "the packages could not be installed, see above; is there a network? Then run the same command again."
    run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV], offline)
    uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "--python", PYTHON, "--compile-bytecode"]
    if torch_build == "cpu":
        uv += ["--torch-backend", "cpu"]
        offline = "the CPU build of torch could not be installed; see above, or leave TORCH=cpu out."
    run(uv + ["-r", "requirements.txt", "-c", "requirements.lock"], offline)
    run(uv + ["--quiet", "--no-deps", "--editable", "."], "the package itself could not be installed; see above.")
    write(STAMP, kind + "\n" + contents)


if __name__ == "__main__":
    main()
