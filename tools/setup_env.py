"""Makes .venv ready: checks the machine, installs what requirements.lock says, and does nothing the second time.

Run by every make target. Written so that any Python 3 can read it, because its first task is to say which one is needed.
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "inpaintkit.stamp")  # written last: without it an installation counts as unfinished
PYTHON = os.path.join(VENV, "bin", "python")
UV = "uv==0.13.8"  # the installer; pinned because the lock is read with it

# Gigabytes to download, on disk afterwards, and free before it starts; Python 3.12, November 2026. Linux with CUDA: `pip
# download` of the lock and `du` of .venv; small (macOS, or Linux with TORCH=cpu): the macOS wheels, packed and unpacked.
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


def fingerprint(torch_build):
    """What the installation depends on: if one of these changes, it is brought up to date."""
    digest = hashlib.sha256((torch_build + sys.version).encode())
    for name in ("requirements.txt", "requirements.lock", "pyproject.toml", "tools/setup_env.py"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def main():
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        stop(
            "Python 3.10, 3.11, 3.12 or 3.13 is needed and this is {}.{}; name one, as in: make course PYTHON=python3.12".format(
                *sys.version_info[:2]
            )
        )
    torch_build = os.environ.get("TORCH", "")
    if torch_build not in ("", "cpu"):
        stop("TORCH={} is not known; leave it out, or use TORCH=cpu for the small build without CUDA.".format(torch_build))

    wanted = fingerprint(torch_build)
    if os.path.exists(STAMP):
        with open(STAMP) as file:
            if file.read() == wanted:
                return
        os.remove(STAMP)  # from here on the environment is unfinished until the new stamp is written
    elif os.path.isdir(VENV):
        print("inpaintkit: .venv holds an interrupted installation; starting it afresh (downloads are kept).")
        shutil.rmtree(VENV)

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
                "sudo apt install python{}.{}-venv".format(*sys.version_info[:2])
            )
        run([sys.executable, "-m", "venv", VENV], "the virtual environment could not be made; see above.")
    offline = "the packages could not be installed; see above (without a network nothing can be installed), then run the same command again."
    run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV], offline)
    uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "--python", PYTHON, "--compile-bytecode"]
    if torch_build == "cpu":
        uv += ["--torch-backend", "cpu"]
        offline = "the CPU build of torch could not be installed; see above, or leave TORCH=cpu out."
    run(uv + ["-r", "requirements.txt", "-c", "requirements.lock"], offline)
    run(uv + ["--quiet", "--no-deps", "--editable", "."], "the package itself could not be installed; see above.")
    with open(STAMP + ".part", "w") as file:
        file.write(wanted)
    os.replace(STAMP + ".part", STAMP)


if __name__ == "__main__":
    main()
