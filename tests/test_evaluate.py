"""Scoring: raw and composite, hole and image; fillers that decline; bad input."""

import math

import pandas as pd
import pytest
import torch

from inpaintkit import contracts, evaluate, fills, masking
from inpaintkit.papers import autoencoder

CENTRE = masking.square(8, 64, 16, "centre")


class Shifted(contracts.Filler):
    """Redraws the whole picture, a little too bright: raw and composite differ."""

    id, label = "shifted", "shifted a little"

    def __init__(self, image):
        self.image = image

    def __call__(self, masked, mask):
        return self.image + 0.1


def test_scores_tell_raw_from_composite_and_hole_from_image(images):
    (row,) = evaluate.score([Shifted(images)], images, CENTRE, list(evaluate.SCORES))
    wanted = {"hole_mse": 0.01, "raw_mse": 0.01, "image_mse": 0.01 / 16, "hole_l1": 0.1, "hole_l1_percent": 10}
    assert {name: row.mean(name) for name in wanted} == pytest.approx(wanted, rel=1e-4)
    assert row.mean("image_psnr") == pytest.approx(20 + 12.04, abs=0.01)
    assert row.mean("hole_mse_clipped") < row.mean("hole_mse")
    assert row.mean("raw_ssim") < row.mean("image_ssim")
    assert all(values.shape == (8,) for values in row.scores.values())


def test_a_filler_that_declines_gets_its_reason_instead_of_numbers(images):
    net = autoencoder.Filler(autoencoder.Autoencoder(64, dense=256))
    mask = masking.pixels(8, 64, 0.3, torch.Generator().manual_seed(0))
    scored, declined = evaluate.score([fills.Nothing(), net], images, mask, ["hole_mse"])
    assert not scored.note
    assert "16x16" in declined.note
    assert math.isnan(declined.mean("hole_mse"))
    frame = evaluate.frame([scored, declined])
    assert frame["filler"].tolist() == ["do nothing", "autoencoder"]
    assert frame["hole MSE"].notna().tolist() == [True, False]
    assert frame["note"].tolist()[1] == declined.note


def test_undefined_scores_are_left_out_of_the_mean_and_counted():
    row = evaluate.Scored("x", "x", {"image_nmse": torch.tensor([0.5, torch.nan, torch.nan])})
    assert row.mean("image_nmse") == 0.5
    assert evaluate.frame([row]).to_dict("records") == [
        {"filler": "x", "image NMSE [0,1]": 0.5, "image NMSE [0,1], undefined": 2}
    ]
    assert pd.isna(evaluate.frame([evaluate.Scored("x", "x", {"hole_mse": torch.tensor([torch.nan])})]).iloc[0, 1])


@pytest.mark.parametrize("bad", [lambda x: x / 0, lambda x: x[:, :, :1, :1]])
def test_a_filler_that_returns_no_picture_is_named(images, bad):
    with pytest.raises(ValueError, match="shifted a little"):
        evaluate.score([Shifted(bad(images))], images, CENTRE, ["hole_mse"])


@pytest.mark.parametrize(
    ("mask", "score", "named"), [(CENTRE & False, "hole_mse", "no hole"), (CENTRE, "fid", "'fid'")]
)
def test_bad_input_is_refused_before_anything_is_scored(images, mask, score, named):
    with pytest.raises(ValueError, match=named):
        evaluate.score([], images, mask, [score])


def test_detail_is_zero_for_a_flat_patch_and_one_for_the_truth(images):
    assert evaluate.detail(images, images, CENTRE, 16) == 1
    assert evaluate.detail(torch.zeros_like(images), images, CENTRE, 16) == 0
