import json
import os
import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from inpaintkit import runtime

# --- seeds and device -------------------------------------------------------------------------------------------------


def test_seeds_and_generators_repeat_and_differ():
    def draws(seed):
        runtime.seed_everything(seed)
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    assert draws(5) == draws(5)
    assert all(a != b for a, b in zip(draws(5), draws(6), strict=True))
    first, again, other = (torch.rand(3, generator=runtime.generator(seed)) for seed in (2, 2, 3))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not limit a process to cores")
def test_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert runtime.cores() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert runtime.cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_precision_is_mixed_where_the_device_gains_from_it(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for capable in (False, True):
        monkeypatch.setattr(runtime, "cpu_has_bf16", lambda capable=capable: capable)
        assert [runtime.pick_precision(cpu, asked) for asked in ("auto", "fp32")] == ["fp32", "fp32"]
    assert runtime.pick_precision(cpu, "bf16") == "bf16"
    for capability, best in (((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert [runtime.pick_precision(gpu, asked) for asked in ("auto", "fp32")] == [best, "fp32"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_the_cpu_lacks_is_refused_with_the_remedy(monkeypatch, precision):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.raises(ValueError, match=f"precision='{precision}'.* use 'auto' or 'fp32'"):
        runtime.pick_precision(torch.device("cpu"), precision)


# --- files ------------------------------------------------------------------------------------------------------------


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    runtime.write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        runtime.write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text()) == runtime.read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("content", [b"", b'{"scores": [1, 2', b"[1, 2]", b"\xff\xfe\x00", b"null"])
def test_a_damaged_record_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path.name}.*delete"):
        runtime.read_json(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_reported_and_leaves_nothing_behind(tmp_path):
    def write():
        with runtime.atomic_write(tmp_path / "file") as part:
            part.symlink_to("/dev/full")
            part.write_text("x" * 100_000)

    with pytest.raises(OSError, match="file could not be written"):
        write()
    assert not list(tmp_path.iterdir())


def test_runs_lie_in_one_place_whatever_folder_a_notebook_runs_in(tmp_path, monkeypatch):
    monkeypatch.setenv("INPAINTKIT_RUNS", "")
    monkeypatch.setattr(runtime, "checkout", lambda: tmp_path)
    wanted = tmp_path / "runs" / "02_vae" / "demo"
    for folder in (tmp_path, tmp_path / "notebooks"):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        assert runtime.runs_dir("02_vae/demo") == wanted
    assert list(wanted.iterdir()) == []
    assert runtime.runs_dir("02_vae", tmp_path / "mine") == tmp_path / "mine"
    monkeypatch.setattr(runtime, "checkout", lambda: None)
    assert runtime.runs_dir("02_vae").resolve() == tmp_path / "notebooks" / "runs" / "02_vae"
    monkeypatch.setenv("INPAINTKIT_RUNS", str(tmp_path / "elsewhere"))
    assert runtime.runs_dir("02_vae") == tmp_path / "elsewhere" / "02_vae"
    assert runtime.runs_dir("02_vae", tmp_path / "mine") == tmp_path / "mine"


def test_an_out_dir_that_cannot_be_made_is_named_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out_dir in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"out_dir .*file"):
            runtime.runs_dir("02_vae", out_dir)


def test_fingerprint_sees_values_shape_and_type():
    a = torch.arange(6, dtype=torch.uint8)
    different = [a, a.view(2, 3), a.int(), a + 1, a.flip(0), a[:0]]
    assert len({runtime.fingerprint(x) for x in different}) == len(different)
    assert runtime.fingerprint(a) == runtime.fingerprint(a.numpy())


def test_code_hash_sees_names_and_contents_and_neither_order_nor_line_ends(tmp_path):
    for name, content in (("a.py", b"x = 1\n"), ("b.py", b"y = 2\n"), ("c.py", b"y = 2\n")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (tmp_path / f"{name}.py" for name in "abc")
    before = runtime.code_hash(a, b)
    assert runtime.code_hash(b, a) == before
    assert len({before, runtime.code_hash(a), runtime.code_hash(a, c)}) == 3
    a.write_bytes(b"x = 1\r\n")
    assert runtime.code_hash(a, b) == before
    a.write_bytes(b"x = 1  # more\n")
    assert runtime.files_hash(a, b) != before
    assert runtime.code_hash(a, b) == before
    a.write_bytes(b"x = 10\n")
    assert runtime.code_hash(a, b) != before


def test_code_hash_sees_what_changes_the_program_only(tmp_path):
    path = tmp_path / "a.py"

    def hashed(source):
        path.write_text(source, encoding="utf8")
        return runtime.code_hash(path)

    plain = hashed("def f(x):\n    if x:\n        x += 1\n    return f'{x} {{x!r}}'\n")
    told = '"""Words."""\n\ndef f(x):\n    """Other\n    words."""\n\n    if x:  # why\n        x += 1\n\n'
    assert hashed(told + "    return f'{x} {{x!r}}'\n") == plain
    moved = "def f(x):\n    if x:\n        x += 1\n        return f'{x} {{x!r}}'\n"
    text = "def f(x):\n    if x:\n        x += 1\n    return 'x'\n"
    assert len({plain, hashed(moved), hashed(text), hashed(text.replace("'x'", "'y'"))}) == 4


# --- provenance -------------------------------------------------------------------------------------------------------


def test_revision_is_this_checkouts_or_none(tmp_path, monkeypatch):
    root = Path(runtime.__file__).parent.parent
    if (root / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{7,}\+?", runtime.git_revision())
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "site-packages" / "inpaintkit" / "runtime.py"))
    (tmp_path / "site-packages" / "inpaintkit").mkdir(parents=True)
    assert runtime.git_revision() is None, "somebody else's repository"


def test_provenance_says_what_a_reader_needs_to_repeat_a_run():
    said = runtime.provenance(torch.device("cpu"))
    assert {"date", "device", "threads", "revision", "versions"} == said.keys()
    assert said["threads"] == torch.get_num_threads()
    assert torch.__version__.startswith(said["versions"]["torch"])
    json.dumps(said)
