import math

import pytest
import torch
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from inpaintkit import masking, metrics

SKIMAGE = {"gauss11": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}, "uniform7": {}}


@pytest.fixture
def pairs(images, generator):
    return (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(0, 1), images


@pytest.mark.parametrize("kind", SKIMAGE)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 33, 57)])
def test_windowed_ssim_equals_scikit_image(pairs, kind, dtype, tolerance, shape):
    pred, image = (p[:, : shape[0], : shape[1], : shape[2]].to(dtype) for p in pairs)
    ours = metrics.ssim(pred, image, kind=kind)
    for i in range(len(pred)):
        theirs, their_map = structural_similarity(
            pred[i].numpy(), image[i].numpy(), channel_axis=0, data_range=1.0, full=True, **SKIMAGE[kind]
        )
        assert abs(ours[i].item() - theirs) < tolerance
        map_tolerance = tolerance if dtype == torch.float64 else 1e-3  # theirs is computed in float32 here
        our_map = metrics.ssim_map(pred[i : i + 1], image[i : i + 1], kind)[0]
        assert (our_map - torch.from_numpy(their_map).double()).abs().max() < map_tolerance


def test_global_ssim_is_the_formula_over_the_whole_image(pairs):
    x, y = (p[0, 0].double() for p in pairs)
    c1, c2 = 0.01**2, 0.03**2
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    expected = (2 * x.mean() * y.mean() + c1) * (2 * covariance + c2)
    expected /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var(correction=0) + y.var(correction=0) + c2)
    assert metrics.ssim(*(p[:1, :1] for p in pairs), kind="global").item() == pytest.approx(expected.item(), abs=1e-12)


def test_psnr_and_nmse_equal_scikit_image(pairs):
    pred, image = pairs
    for i, (a, b) in enumerate(zip(image.double().numpy(), pred.double().numpy(), strict=True)):
        psnr = peak_signal_noise_ratio(a, b, data_range=1)
        assert metrics.psnr(pred, image)[i].item() == pytest.approx(psnr, abs=1e-9)
        assert metrics.nmse(pred, image)[i].item() == pytest.approx(normalized_root_mse(a, b) ** 2, abs=1e-9)


def test_perfect_copies_score_perfectly(images):
    assert metrics.mse(images, images).tolist() == [0] * 8
    assert metrics.mse(images + 2, images).tolist() == pytest.approx([4] * 8), "nothing is clamped"
    assert metrics.psnr(images, images).tolist() == [metrics.PSNR_CAP] * 8
    for kind in metrics.SSIM_KINDS:
        assert torch.allclose(metrics.ssim(images, images, kind=kind), torch.ones(8, dtype=torch.float64), atol=1e-12)


def test_nmse_depends_on_the_range_and_is_undefined_near_its_zero():
    image, pred = torch.full((1, 1, 8, 8), 0.90), torch.full((1, 1, 8, 8), 0.95)
    assert metrics.nmse(pred, image).item() == pytest.approx(0.05**2 / 0.9**2, rel=1e-5)
    assert metrics.nmse(pred, image, value_range="[-1,1]").item() == pytest.approx(0.1**2 / 0.8**2, rel=1e-5)
    black = torch.zeros(1, 1, 8, 8)
    assert metrics.nmse(black + 0.1, black).isnan().all()
    wanted = {"mean": 0.2, "median": 0.2, "sd": math.sqrt(0.02), "n": 2, "undefined": 1}
    assert metrics.summarise(torch.tensor([0.1, torch.nan, 0.3])) == pytest.approx(wanted)
    assert metrics.summarise(torch.tensor([torch.nan])) == {"n": 0, "undefined": 1}


def test_hole_scores_see_only_the_hole(images, generator):
    mask = masking.square(8, 64, 16, "random", generator)
    holes = mask.expand_as(images)
    pred = torch.where(holes, images + 0.5, images - 0.25)
    assert torch.allclose(metrics.mse(pred, images, mask), torch.full((8,), 0.25, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(metrics.l1(pred, images, mask), torch.full((8,), 0.5, dtype=torch.float64), atol=1e-6)
    share = masking.coverage(mask)
    assert torch.allclose(metrics.mse(pred, images), 0.25 * share + 0.0625 * (1 - share), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: metrics.mse(x, x, torch.zeros(8, 1, 64, 64, dtype=torch.bool)), "hole"),
        (lambda x: metrics.ssim(x, x, torch.ones(8, 1, 64, 64, dtype=torch.bool), "global"), "gauss11"),
        (lambda x: metrics.ssim(x, x, kind="msssim"), "kind"),
        (lambda x: metrics.ssim(x[:, :, :8], x[:, :, :8]), "11 pixels"),
        (lambda x: metrics.nmse(x, x, value_range="[0,255]"), "value_range"),
        (lambda x: metrics.mse(x[:1], x), "batch"),
        (lambda x: metrics.mse(x, x, masking.square(8, 32, 9, "centre")), "height and width"),
    ],
)
def test_bad_arguments_name_the_remedy(call, words, images):
    with pytest.raises(ValueError, match=words):
        call(images)


@pytest.mark.parametrize("score", [metrics.mse, metrics.l1, metrics.psnr, metrics.nmse, metrics.ssim])
def test_a_large_set_is_scored_as_its_images_are(score):
    """Large sets are scored a few images at a time; 90 of them are more than one such chunk."""
    image = torch.rand(90, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    pred = (image + 0.1 * torch.arange(90).view(-1, 1, 1, 1) / 90).clamp(0, 1)
    mask = torch.zeros(90, 1, 128, 128, dtype=torch.bool)
    mask[:, :, 40:60, 50:70] = True
    one_by_one = [score(*(x[i : i + 1] for x in (pred, image, mask))) for i in range(0, 90, 11)]
    torch.testing.assert_close(score(pred, image, mask)[::11], torch.cat(one_by_one), rtol=1e-12, atol=0)
