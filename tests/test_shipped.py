"""The weights that ship: they are what their headers say, and nothing else is taken for them."""

import json
import shutil

import pytest
import torch

from inpaintkit import data, evaluate, fills, masking, papers, runtime, shipped
from inpaintkit.apps import repair
from inpaintkit.experiments import questions, records, run

WORKS = list(papers.PAPERS)
LEVELS = questions.table(papers.get("ssrgan"))["more_weights"]
FOLDER = runtime.results_dir() / "weights"


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A folder of results with the shipped weights alone, to be damaged."""
    monkeypatch.setattr(runtime, "results_dir", lambda: tmp_path)
    return shutil.copytree(FOLDER, tmp_path / "weights")


def test_they_are_small():
    sizes = [path.stat().st_size for path in FOLDER.glob("*.safetensors")]
    assert len(sizes) == len(WORKS) + len(LEVELS)
    assert max(sizes) <= 5e6
    assert sum(sizes) <= 10e6


@pytest.mark.parametrize("work", WORKS)
def test_shipped_weights_score_what_their_header_says_and_less_than_the_best_fill(work):
    paper, header = papers.get(work), shipped.header(work)
    assert header["paper"] == work
    assert header["data"] == "portraits"  # the only pictures whose weights may be passed on
    assert {"licence", "revision", "made with", "training pictures"} <= header.keys()
    cfg, said = paper.Parameters().changed(**shipped.parameters(work)), json.loads(header["score"])
    test = data.open_for(cfg).test.float() / 255
    mask = next(iter(paper.test_holes(cfg, len(test)).values()))
    assert [runtime.fingerprint(test), runtime.fingerprint(mask)] == [said["pictures"], said["mask"]]
    fillers = [run.shipped_filler(paper), *fills.fills("biharmonic" if work == "ssrgan" else "harmonic")]
    network, fill = evaluate.score(fillers, test, mask, [said["score"]], paper.untouched)
    assert network.mean(said["score"]) == pytest.approx(said["mean"], rel=1e-3)
    pair = ([one.scores[said["score"]].numpy()] for one in (network, fill))
    assert records.paired(*pair).high < 0


@pytest.mark.parametrize("name", LEVELS)
def test_networks_of_levels_score_what_their_headers_say(name):
    header, paper = shipped.header(name), papers.get("ssrgan")
    assert json.loads(header["parameters"])["p"] == LEVELS[name]["p"]
    said, test = json.loads(header["score"]), data.open_for(paper.Parameters()).test.float() / 255
    mask = paper.test_holes(paper.Parameters(**LEVELS[name]), len(test))[said["holes"]]
    (network,) = evaluate.score([run.shipped_filler(paper, name=name)], test, mask, [said["score"]], paper.untouched)
    assert network.mean(said["score"]) == pytest.approx(said["mean"], rel=1e-3)


def test_a_changed_header_is_noticed(copied):
    path = copied / "vae.safetensors"
    changed = path.read_bytes().replace(b"portraits", b"portraitz", 1)
    path.write_bytes(changed)
    with pytest.raises(ValueError, match="damaged or was changed"):
        shipped.file("vae")


def test_a_truncated_file_is_noticed(copied):
    path = copied / "vae.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged or was changed"):
        shipped.file("vae")


def test_a_work_without_shipped_weights_is_told(copied):
    (copied / "vae.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no weights of vae"):
        papers.get("vae").Parameters.resolve({"weights": "ours"})


def test_weights_of_another_network_are_refused():
    paper = papers.get("vae")
    cfg = paper.Parameters.resolve({"network": "smallest"})
    with pytest.raises(ValueError, match="another model"):
        run.load_shipped(paper, paper.build(cfg))


def test_weights_ours_brings_the_parameters_of_its_training():
    cls = papers.get("autoencoder").Parameters
    cfg, trained = cls.resolve({"weights": "ours", "n_test": 10}), shipped.parameters("autoencoder")
    assert {name: getattr(cfg, name) for name in trained} == trained
    assert cfg.n_test == 10
    assert cfg.identifying() != cls.resolve(trained | {"n_test": 10}).identifying()  # another run than the training


def test_weights_ours_with_other_parameters_names_the_one_that_differs():
    with pytest.raises(ValueError, match="were trained with side=32, and 16 was given"):
        papers.get("autoencoder").Parameters.resolve({"weights": "ours", "side": 16})


@pytest.mark.slow
def test_a_run_with_weights_ours_scores_them_without_training(tmp_path):
    record = run.run("context_encoder", {"weights": "ours", "n_test": 8}, tmp_path, progress=False)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert record["changes"]["weights"] == "ours"


def test_photographs_are_repaired_by_shipped_weights_where_no_run_is_named():
    assert isinstance(repair.method("network"), type(repair.method("network", "context_encoder")))
    photo = torch.randint(0, 256, (80, 90, 3), dtype=torch.uint8).numpy()
    hole = masking.square(1, 90, 12, "centre")[0, 0, :80].numpy()
    fixed = repair.repair(photo, hole, repair.method("network", "ssrgan"), progress=False)
    assert (fixed[~hole] == photo[~hole]).all()
