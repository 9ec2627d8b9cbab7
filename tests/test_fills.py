import numpy as np
import pytest
import torch

from inpaintkit import fills, masking

FILLS = {fill.id: fill for fill in fills.fills()}
WORKING = [name for name in FILLS if name != "nothing"]
HOLES = {
    "square": masking.square(2, 32, 8, "centre"),
    "corner": masking.square(2, 32, 8, (0.125, 0.125)),
    "pixels": masking.pixels(2, 32, 0.6, torch.Generator().manual_seed(0)),
}


def ready(name, shape, mask):
    """The fill, or a skip with its own reason: OpenCV may lack its contrib modules."""
    reason = FILLS[name].accepts(tuple(shape), mask)
    return pytest.skip(reason) if reason else FILLS[name]


def test_the_whole_list_of_fills_is_there_under_ids_and_labels():
    smooth = ["harmonic", "biharmonic", "telea", "navier-stokes"]
    assert list(FILLS) == list(fills.FILLS) == ["nothing", "mean", "ring", "box", *smooth, "patch", "frequency"]
    assert [fill.id for fill in fills.fills("box", "ring")] == ["box", "ring"]
    assert [fills.label(name) for name in FILLS] == [fill.label for fill in FILLS.values()]
    assert len({fill.label for fill in FILLS.values()}) == len(FILLS)
    with pytest.raises(ValueError, match=r"'boxx'.*box"):
        fills.fills("ring", "boxx")


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("channels", [1, 3])
def test_known_pixels_stay_and_what_was_hidden_cannot_matter(name, hole, channels, images):
    mask, image = HOLES[hole], images[:2, :channels, :32, :32]
    fill = ready(name, image.shape, mask)
    pred = fill(masking.apply(image, mask), mask)
    assert (pred.shape, pred.dtype) == (image.shape, torch.float32)
    assert torch.equal(masking.apply(pred, mask), masking.apply(image, mask))
    assert pred.aminmax().min >= 0
    assert pred.aminmax().max <= 1
    if name != "nothing":
        assert torch.equal(pred, fill(masking.apply(image, mask, "white"), mask))


@pytest.mark.parametrize("name", WORKING)
@pytest.mark.parametrize("hole", HOLES)
def test_a_constant_picture_is_restored(name, hole):
    image = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1).expand(2, 3, 32, 32).contiguous()
    pred = ready(name, image.shape, HOLES[hole])(masking.apply(image, HOLES[hole]), HOLES[hole])
    # These values are whole numbers of 1/255. OpenCV's Telea rounds upwards as it goes, by up to three levels here.
    tolerance = {"telea": 3.5, "frequency": 1.5}.get(name, 0.01) / 255
    assert (pred - image).abs().max() < tolerance


def test_biharmonic_continues_a_ramp_and_a_harmonic_value_is_the_mean_of_its_neighbours(images):
    ramp, mask = torch.linspace(0.1, 0.9, 32).expand(2, 1, 32, 32).contiguous(), HOLES["square"]
    assert (FILLS["biharmonic"](masking.apply(ramp, mask), mask) - ramp).abs().max() < 1e-4
    pred = FILLS["harmonic"](masking.apply(images[:2, :, :32, :32], mask), mask)[0, 0].double()
    y, x = np.nonzero(mask[0, 0].numpy())
    neighbours = (pred[y - 1, x] + pred[y + 1, x] + pred[y, x - 1] + pred[y, x + 1]) / 4
    assert (pred[y, x] - neighbours).abs().max() < 1e-6


def test_ring_mean_reads_two_pixels_around_each_hole_and_no_more():
    image = torch.rand(1, 1, 20, 40, generator=torch.Generator().manual_seed(1))
    mask = masking.square(1, (20, 40), 6, (0.5, 0.25)) | masking.square(1, (20, 40), 6, (0.5, 0.75))
    pred = FILLS["ring"](image, mask)
    for left in (7, 27):  # rows 7 to 12, six columns from here on
        ring = torch.zeros(20, 40, dtype=torch.bool)
        ring[5:15, left - 2 : left + 8] = True
        ring[7:13, left : left + 6] = False
        assert torch.allclose(pred[0, 0, 7:13, left : left + 6], image[0, 0][ring].mean())


def test_box_by_hand_and_from_the_rim_inwards():
    image, mask = torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 9, 9, dtype=torch.bool)
    image[0, 0, 4, 2], mask[0, 0, 4, 4] = 1.0, True
    assert FILLS["box"](image, mask)[0, 0, 4, 4].item() == pytest.approx(1 / 24, abs=1e-6)
    big = masking.square(1, 9, 7, "centre")  # its centre has no known pixel within a 5x5 window
    grey, all_but_one = torch.full((1, 1, 9, 9), 0.3), torch.arange(81).view(1, 1, 9, 9) > 0
    for hole in (big, all_but_one):
        assert torch.allclose(FILLS["box"](masking.apply(grey, hole), hole), grey, atol=1e-6)
    with pytest.raises(ValueError, match="known pixel"):
        FILLS["box"](grey, torch.ones_like(big))


def test_fills_say_what_they_do_not_take(monkeypatch):
    per_channel = masking.pixels(2, 32, 0.5, torch.Generator().manual_seed(0), channels=3)
    refusing = [name for name, fill in FILLS.items() if fill.accepts((2, 3, 32, 32), per_channel)]
    assert refusing == [name for name in FILLS if name not in ("nothing", "mean", "box")]
    assert "7x7 patch" in FILLS["patch"].accepts((2, 3, 32, 32), HOLES["pixels"])
    monkeypatch.delattr(fills.cv2, "xphoto", raising=False)
    assert "contrib" in FILLS["frequency"].accepts((2, 3, 32, 32), HOLES["square"])


def test_patch_fill_continues_a_pattern_exactly():
    tile = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pattern, mask = tile.repeat(2, 1, 6, 6), masking.square(2, 48, 12, "centre")  # 48x48, period 8
    assert torch.equal(FILLS["patch"](masking.apply(pattern, mask), mask), pattern)


@pytest.mark.skipif(not hasattr(fills.cv2, "xphoto"), reason="OpenCV without its contrib modules")
def test_frequency_selective_fills_pictures_of_any_size():
    image = torch.full((1, 1, 36, 52), 0.5)  # no multiples of OpenCV's blocks of 16
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[..., 30:34, 46:50] = True
    (fill,) = fills.fills("frequency")
    assert (fill(masking.apply(image, mask), mask)[mask] - 0.5).abs().max() < 0.02
