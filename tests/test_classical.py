import numpy as np
import pytest
import torch

from inpaintkit import masking
from inpaintkit.models import classical

FILLS = {fill.name: fill for fill in classical.fills()}
HOLES = {
    "square": masking.square(2, 32, 8, "centre"),
    "corner": masking.square(2, 32, 8, (0.125, 0.125)),
    "pixels": masking.pixels(2, 32, 0.6, torch.Generator().manual_seed(0)),
}


def test_the_whole_list_of_fills_is_there():
    means = ["do nothing", "mean of known pixels", "mean of a 2-pixel ring", "normalised 5x5 box"]
    smooth = ["harmonic", "biharmonic", "Telea", "Navier-Stokes"]
    assert list(FILLS) == [*means, *smooth, "patch-based, 7x7", "frequency-selective"]


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("channels", [1, 3])
def test_known_pixels_stay_and_what_was_hidden_cannot_matter(name, hole, channels, images):
    fill, mask = FILLS[name], HOLES[hole]
    image = images[:2, :channels, :32, :32]
    if fill.accepts(image.shape, mask):
        pytest.skip(fill.accepts(image.shape, mask))
    pred = fill(masking.apply(image, mask), mask)
    holes = mask.expand_as(image)
    assert pred.shape == image.shape
    assert pred.dtype == torch.float32
    assert torch.equal(pred[~holes], image[~holes])
    assert pred.min() >= 0
    assert pred.max() <= 1
    if name != "do nothing":
        assert torch.equal(pred, fill(masking.apply(image, mask, "white"), mask))


@pytest.mark.parametrize("name", [n for n in FILLS if n != "do nothing"])
@pytest.mark.parametrize("hole", HOLES)
def test_a_constant_picture_is_restored(name, hole):
    image = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1).expand(2, 3, 32, 32).contiguous()
    if FILLS[name].accepts(image.shape, HOLES[hole]):
        pytest.skip(FILLS[name].accepts(image.shape, HOLES[hole]))
    pred = FILLS[name](masking.apply(image, HOLES[hole]), HOLES[hole])
    # These values are whole numbers of 1/255. OpenCV's Telea rounds upwards as it goes, by up to three levels here.
    tolerance = {"Telea": 3.5, "frequency-selective": 1.5}.get(name, 0.01) / 255
    assert (pred - image).abs().max() < tolerance


@pytest.mark.parametrize(("name", "tolerance"), [("harmonic", 1e-6), ("biharmonic", 1e-4)])
def test_a_ramp_is_continued_by_the_smooth_fills(name, tolerance):
    ramp = torch.linspace(0.1, 0.9, 32).expand(2, 1, 32, 32).contiguous()
    pred = FILLS[name](masking.apply(ramp, HOLES["square"]), HOLES["square"])
    assert (pred - ramp).abs().max() < tolerance


def test_harmonic_value_is_the_mean_of_its_neighbours(images):
    image, mask = images[:2, :, :32, :32], HOLES["square"]
    pred = FILLS["harmonic"](masking.apply(image, mask), mask)[0, 0].double()
    y, x = np.nonzero(mask[0, 0].numpy())
    neighbours = (pred[y - 1, x] + pred[y + 1, x] + pred[y, x - 1] + pred[y, x + 1]) / 4
    assert (pred[y, x] - neighbours).abs().max() < 1e-6


def test_ring_mean_by_hand_each_hole_its_own():
    image = torch.zeros(1, 1, 16, 32)
    image[..., 16:] = 1.0
    mask = masking.square(1, (16, 32), 4, (0.5, 0.25)) | masking.square(1, (16, 32), 4, (0.5, 0.75))
    pred = FILLS["mean of a 2-pixel ring"](image, mask)
    assert (pred[..., :16] == 0).all()
    assert (pred[..., 16:] == 1).all()


def test_ring_mean_reads_two_pixels_and_no_more():
    image = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    mask = masking.square(1, 20, 6, "centre")  # rows and columns 7 to 12
    ring = torch.zeros(20, 20, dtype=torch.bool)
    ring[5:15, 5:15] = True
    ring[7:13, 7:13] = False
    pred = FILLS["mean of a 2-pixel ring"](image, mask)
    assert pred[0, 0, 9, 9].item() == pytest.approx(image[0, 0][ring].mean().item(), abs=1e-6)


def test_box_by_hand_and_from_the_rim_inwards():
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 2] = 1.0
    mask = torch.zeros(1, 1, 9, 9, dtype=torch.bool)
    mask[0, 0, 4, 4] = True
    assert FILLS["normalised 5x5 box"](image, mask)[0, 0, 4, 4].item() == pytest.approx(1 / 24, abs=1e-6)
    big = masking.square(1, 9, 7, "centre")  # its centre has no known pixel within a 5x5 window
    assert (
        FILLS["normalised 5x5 box"](masking.apply(torch.full((1, 1, 9, 9), 0.3), big), big).sub(0.3).abs().max() < 1e-6
    )


def test_fills_that_need_one_mask_for_all_channels_say_so():
    per_channel = masking.pixels(2, 32, 0.5, torch.Generator().manual_seed(0), channels=3)
    refusing = [name for name, fill in FILLS.items() if fill.accepts((2, 3, 32, 32), per_channel)]
    assert refusing == [n for n in FILLS if n not in ("do nothing", "mean of known pixels", "normalised 5x5 box")]
    assert FILLS["biharmonic"].accepts((2, 3, 32, 32), per_channel) == "needs one mask for all channels"


def test_patch_fill_continues_a_pattern_exactly():
    tile = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pattern = tile.repeat(2, 1, 6, 6)  # 48x48, period 8
    mask = masking.square(2, 48, 12, "centre")
    pred = FILLS["patch-based, 7x7"](masking.apply(pattern, mask), mask)
    assert torch.equal(pred, pattern)
    assert "needs a 7x7 patch" in FILLS["patch-based, 7x7"].accepts((2, 3, 32, 32), HOLES["pixels"])
