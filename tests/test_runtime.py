import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

from inpaintkit import runtime

DECLARED = """# Defaults: papermill puts its own cell below this one
profile: str = "demo"
reading: str = "as_run"
epochs: int = None
lr: float = 1e-3
side: int = None
shuffle: bool = True
"""
ALLOWED = runtime.TRAINING | {"lr": (1e-6, 1.0), "side": {16, 32}}


def notebook(injected=None, before=(), after=()):
    """The globals of a notebook in which the parameters cell, then papermill's cell, have run."""
    cells = ["", *before, DECLARED, *(["# Parameters\n" + injected] if injected is not None else []), *after]
    namespace = {}
    for cell in cells:
        exec(cell, namespace)
    return namespace | {"In": cells}


def check(*arguments, **keywords):
    return runtime.check_parameters(notebook(*arguments, **keywords), ALLOWED)


def test_nothing_injected_is_silent(capsys):
    assert check() == {
        "profile": "demo",
        "reading": "as_run",
        "epochs": None,
        "lr": 1e-3,
        "side": None,
        "shuffle": True,
    }
    assert capsys.readouterr().out == ""


def test_injected_values_come_through():
    values = check('profile = "paper"\nepochs = 7\nlr = 1\nside = 32\n')
    assert (values["profile"], values["epochs"], values["lr"], values["side"]) == ("paper", 7, 1, 32)


def test_parameters_cell_rerun_by_hand_overrides_what_was_injected_before():
    assert check(None, before=["# Parameters\nepochz = 3\n"])["epochs"] is None


@pytest.mark.parametrize(
    ("injected", "message"),
    [
        ("epochz = 3", r"unknown parameter 'epochz': did you mean 'epochs'\?"),
        ("qqq = 3", r"unknown parameter 'qqq': this notebook takes profile, reading"),
        ('epochs = "abc"', r"epochs must be a whole number, and 'abc' is not\."),
        ("epochs = 2.5", "epochs must be a whole number"),
        ("epochs = True", "epochs must be a whole number"),
        ("epochs = 0", "epochs must lie between 1 and 100000, and 0 does not"),
        ('lr = "1e-3"', r"lr must be a number, and '1e-3' is not; in YAML, numbers like 1e-3 need a point: 1\.0e-03"),
        ("lr = 2.0", "lr must lie between"),
        ("lr = None", "lr must be a number"),
        ('profile = "papre"', "profile must be one of demo, paper, smoke, and 'papre' is not"),
        ("side = 20", "side must be one of 16, 32"),
        ("shuffle = 1", "shuffle must be True or False"),
    ],
)
def test_bad_parameters_end_with_one_sentence(injected, message):
    with pytest.raises(ValueError, match=message) as caught:
        check(injected)
    assert "\n" not in str(caught.value)


def test_a_runner_without_history_gets_the_values_and_still_the_ranges():
    """nbval runs cells without storing them in the history."""
    namespace = notebook() | {"In": [""]}
    assert runtime.check_parameters(namespace, ALLOWED) == {
        name: value for name, value in check().items() if name in ALLOWED
    }
    with pytest.raises(ValueError, match="side must be one of 16, 32"):
        runtime.check_parameters(namespace | {"side": 17}, ALLOWED)


def test_missing_parameters_cell_is_named():
    with pytest.raises(ValueError, match="run the cell that starts with"):
        runtime.check_parameters({"In": ["x = 1"]}, ALLOWED)


def test_precedence_profile_reading_user():
    profiles = {"demo": {"epochs": 5, "side": 16, "dense": 1}, "smoke": {"epochs": 1}}
    readings = {"as_run": {"dense": 2}}
    cfg = runtime.configure(check("side = 32"), profiles, readings)
    assert (cfg.epochs, cfg.dense, cfg.side) == (5, 2, 32)
    assert cfg.sources["epochs"] == "profile demo"
    assert cfg.sources["dense"] == "reading as_run"
    assert cfg.sources["side"] == "given"
    assert "epochs  = 5                        (profile demo)" in repr(cfg)


def test_results_echo_every_parameter_and_their_provenance(tmp_path):
    cfg = runtime.configure(check("epochs = 3"), {"demo": {"dense": 2}}, {"as_run": {}})
    path = runtime.save_results(tmp_path / "new", cfg, torch.device("cpu"), scores={"a": 1.5})
    saved = json.loads(path.read_text())
    assert saved["parameters"]["epochs"] == 3
    assert saved["parameters"]["dense"] == 2
    assert saved["scores"] == {"a": 1.5}
    assert torch.__version__.startswith(saved["versions"]["torch"])
    assert {"date", "device", "threads", "git"} <= saved.keys()


def test_revision_is_this_checkouts_or_none(tmp_path, monkeypatch):
    root = Path(runtime.__file__).parent.parent
    if (root / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{7,}\+?", runtime.git_revision())
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "site-packages" / "inpaintkit" / "runtime.py"))
    (tmp_path / "site-packages" / "inpaintkit").mkdir(parents=True)
    assert runtime.git_revision() is None, "somebody else's repository"


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    runtime.write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        runtime.write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_fingerprint_sees_values_shape_and_type():
    a = torch.arange(6, dtype=torch.uint8)
    different = [a, a.view(2, 3), a.int(), a + 1, a.flip(0)]
    assert len({runtime.fingerprint(x) for x in different}) == len(different)
    assert runtime.fingerprint(a) == runtime.fingerprint(a.numpy())


def test_generators_and_seeds_repeat():
    runtime.seed_everything(5)
    first = torch.rand(3)
    runtime.seed_everything(5)
    assert torch.equal(first, torch.rand(3))
    assert torch.equal(*(torch.rand(3, generator=runtime.generator(2)) for _ in range(2)))
