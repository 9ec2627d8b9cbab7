"""Makes .venv ready: uv installs what requirements.lock says. The second time there is nothing to do.

python tools/setup_env.py        what the notebooks need
python tools/setup_env.py dev    and what tests need; once there, it stays

Run by every make target. Any Python 3 can read it, because its first task is to say which one is needed.
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
OLD = VENV + ".old"  # an environment on its way out; renamed first, so that a half-deleted one is never taken for .venv
STAMP = os.path.join(VENV, "inpaintkit.stamp")  # kind, stage and contents; without it the folder is not ours to replace
EMPTY = ["", "", "unfinished"]  # the stamp of nothing; its last word stands there until all is installed
PYTHON = os.path.join(VENV, "bin", "python")
UV = "0.13.8"  # the installer; pinned because the lock is read with it
# Gigabytes (1e9), Python 3.11, November 2026; small: macOS, or Linux with TORCH=cpu. The tools for tests add 0.03.
SIZES = {"cuda": {"download": 3.3, "installed": 6.6}, "small": {"download": 0.4, "installed": 1.5}}


def stop(sentence):
    sys.exit("inpaintkit: " + sentence)


def stamp(*lines):
    with open(STAMP + ".part", "w") as file:
        file.write("\n".join(lines))
    os.replace(STAMP + ".part", STAMP)


def make_room(size):
    """Takes away an environment that cannot be used, and says what a new one costs."""
    if os.path.isdir(VENV):
        if not os.path.exists(STAMP):
            stop("the folder .venv was not made by this command: move it away or delete it, then try again.")
        print("inpaintkit: .venv is unfinished, or for another Python or PyTorch; it is made anew.")
        os.rename(VENV, OLD)
        shutil.rmtree(OLD)
    print("inpaintkit: setting up .venv: {download} GB to download, {installed} GB on disk.".format(**size))
    free, needed = shutil.disk_usage(ROOT).free / 1e9, size["installed"] + 1
    if free < needed:
        stop("{:.1f} GB are free here, and {:.1f} GB are needed; make room or move the folder.".format(free, needed))


def find_uv():
    """The pinned uv: the one on PATH, or one that pip puts into the folder .uv."""
    own = os.path.join(ROOT, ".uv")
    for uv in (shutil.which("uv"), os.path.join(own, "bin", "uv")):
        if subprocess.getoutput('"{}" --version'.format(uv)).split()[:2] == ["uv", UV]:
            return uv
    pip = [sys._base_executable, "-m", "pip"]  # not the one of an activated .venv, which may just have been taken away
    if subprocess.call(pip + ["install", "-qq", "--upgrade", "--target", own, "uv==" + UV]):
        stop("uv could not be fetched, see above; it takes a network and pip (on Debian: apt install python3-pip).")
    return uv


def main():
    version = "{}.{}".format(*sys.version_info[:2])
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        stop("Python 3.10 to 3.13 is needed, not " + version + "; name one, as in: make course PYTHON=python3.12")
    before = EMPTY
    if os.path.exists(STAMP):
        with open(STAMP) as file:
            before = (file.read() + "\n\n").split("\n")[:3]
    kept = "cpu" if before[0].endswith("torch cpu") else "default"  # `make lab` after `make course TORCH=cpu`
    torch = os.environ.get("TORCH") or kept
    if torch not in ("default", "cpu"):
        stop("TORCH=" + torch + " is not known; leave it out, or use TORCH=cpu for the small build.")
    kind = "python {} torch {}".format(version, torch)
    stage = "dev" if "dev" in sys.argv[1:] + before[1:2] else "run"
    contents = hashlib.sha256()
    for name in ("requirements.txt", "requirements.lock", "pyproject.toml", "tools/setup_env.py"):
        with open(os.path.join(ROOT, name), "rb") as file:
            contents.update(file.read())
    wanted = [kind, stage, contents.hexdigest()]
    if before == wanted and os.path.exists(PYTHON):
        return

    shutil.rmtree(OLD, ignore_errors=True)
    new = before[0] != kind or before[2] == EMPTY[2] or not os.path.exists(PYTHON)
    if new:
        make_room(SIZES["cuda" if sys.platform == "linux" and torch == "default" else "small"])
        before = EMPTY
    uv = find_uv()
    os.makedirs(VENV, exist_ok=True)
    stamp(kind, stage, EMPTY[2])
    make = [uv, "venv", "--quiet", "--seed", "--allow-existing", "--python", sys._base_executable, VENV]
    if new and subprocess.call(make):
        stop("the virtual environment could not be made; see above.")
    install = [uv, "pip", "install", "--python", PYTHON, "--compile-bytecode", "--constraints", "requirements.lock"]
    install += ["--editable", ".[notebooks]"]
    install += ["--group", "dev"] if stage == "dev" else []
    install += ["--torch-backend", "cpu"] if torch == "cpu" else []
    site = os.path.join(VENV, "lib", "python" + version, "site-packages")
    touched = os.path.getmtime(site)
    if subprocess.call(install, cwd=ROOT):
        if os.path.getmtime(site) == touched:
            stamp(*before)  # nothing was installed or replaced: what worked before works
        stop("the packages could not be installed, see above: is there a network? Then run the same command again.")
    link = os.path.join(VENV, "bin", "uv")  # `make lock` and `make effects` look for it there
    if not os.path.exists(link):
        os.symlink(uv, link + ".part")
        os.replace(link + ".part", link)
    stamp(*wanted)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("interrupted; the same command begins again.")
