import math

import pytest
import torch

from inpaintkit import masking


@pytest.mark.parametrize(
    ("ratio_of", "ratio", "side"), [("side", 0.2, 20), ("area", 0.2, 45), ("side", 0.4, 40), ("area", 0.4, 63)]
)
def test_side_of_distinguishes_side_and_area(ratio_of, ratio, side):
    assert masking.side_of(ratio, 100, ratio_of) == side


def test_authors_place_is_where_their_code_has_it():
    for side, box in ((16, [60, 62, 76, 78]), (32, [52, 54, 84, 86])):
        mask = masking.square(1, 128, side, (68 / 128, 70 / 128))
        assert masking.bounding_box(mask)[0].tolist() == box


@pytest.mark.parametrize("place", ["centre", "random", (0.3, 0.6)])
def test_square_is_one_square_of_exact_area(place, generator):
    mask = masking.square(50, (48, 64), 12, place, generator)
    top, left, bottom, right = masking.bounding_box(mask).unbind(1)
    assert mask.shape == (50, 1, 48, 64)
    assert mask.dtype == torch.bool
    assert (mask.sum((1, 2, 3)) == 144).all()
    assert (bottom - top == 12).all()
    assert (right - left == 12).all()
    assert masking.coverage(mask)[0].item() == 144 / (48 * 64)


def test_random_squares_reach_every_position(generator):
    boxes = masking.bounding_box(masking.square(2000, 10, 7, "random", generator))
    assert {tuple(box[:2]) for box in boxes.tolist()} == {(top, left) for top in range(4) for left in range(4)}


def test_pixels_have_the_rates_asked_for_and_channels_may_differ(generator):
    rates = torch.tensor([0.1, 0.5, 0.9])
    mask = masking.pixels(3, 64, rates, generator)
    assert mask.shape == (3, 1, 64, 64)
    assert torch.allclose(masking.coverage(mask), rates.double(), atol=5 * math.sqrt(0.25 / 64**2))  # standard errors
    per_channel = masking.pixels(3, 64, rates, generator, channels=3)
    assert torch.allclose(per_channel.double().mean((2, 3)), rates.double()[:, None].expand(3, 3), atol=0.04)
    assert not torch.equal(per_channel[:, 0], per_channel[:, 1])
    for same in (torch.tensor(0.3), torch.full((3,), 0.3)):
        again = masking.pixels(3, (16, 24), same, torch.Generator().manual_seed(0))
        assert torch.equal(again, masking.pixels(3, (16, 24), 0.3, torch.Generator().manual_seed(0)))


def test_thin_strokes_still_hit_a_pixel(generator):
    assert masking.strokes(300, 8, generator, count=1).flatten(1).any(1).all()


@pytest.mark.parametrize("kind", masking.KINDS)
def test_every_kind_is_seeded_and_leaves_something_known_and_something_missing(kind):
    one, same, other = (masking.draw(kind, 20, 64, torch.Generator().manual_seed(seed), 0.3) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert ((masking.coverage(one) > 0) & (masking.coverage(one) < 1)).all()
    assert not torch.equal(one[0], one[1]), "every image must get a hole of its own"


def test_composite_and_apply_keep_known_pixels_bit_for_bit(images, generator):
    mask = masking.pixels(8, 64, 0.5, generator)
    pred, holes = torch.rand(images.shape, generator=generator) * 3 - 1, mask.expand_as(images)
    full = masking.composite(images, pred, mask)
    assert torch.equal(full[holes], pred[holes])
    for fill, value in (("black", 0.0), ("white", 1.0), ("grey", 0.5)):
        masked = masking.apply(images, mask, fill)
        assert (masked[holes] == value).all()
        assert torch.equal(masked[~holes], images[~holes])
    assert torch.equal(full[~holes], images[~holes])


def test_mean_fill_is_the_mean_of_known_pixels_only():
    image = torch.full((1, 1, 8, 8), 0.25)
    mask = masking.square(1, 8, 4, "centre")
    image[mask] = 1.0  # what is missing must not count
    assert torch.allclose(masking.apply(image, mask, "mean")[mask], torch.tensor(0.25))


def _image(value=0.5, **kwargs):
    return torch.full((2, 3, 16, 16), value, **kwargs)


HOLE = masking.square(2, 16, 4, "centre")
BAD_PAIRS = {
    "uint8 image": (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), HOLE, "uint8"),
    "float mask": (_image(), HOLE.float(), "mask"),
    "two channels": (_image()[:, :2], HOLE, r"\(B, 1 or 3, H, W\)"),
    "mask of another size": (_image(), masking.square(2, 12, 4, "centre"), "mask.* fit"),
    "mask of another batch": (_image(), HOLE[:1], "mask.* fit"),
    "NaN": (_image(float("nan")), HOLE, "NaN"),
    "values above 1": (_image(1.5), HOLE, r"\[0, 1\]"),
    "no hole": (_image(), torch.zeros_like(HOLE), "2 of 2 masks have no hole"),
    "nothing but hole": (_image(), torch.ones_like(HOLE), "nothing but hole"),
    "one channel nothing but hole": (_image(), torch.cat([HOLE, HOLE, ~HOLE | HOLE], 1), "nothing but hole"),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_check_says_what_is_wrong(case):
    image, mask, message = BAD_PAIRS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        masking.check(image, mask)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: masking.square(1, 16, 16), "side"),
        (lambda g: masking.square(1, 16, 8, (0.0, 0.0)), "sticks out"),
        (lambda g: masking.square(1, 16, 8, "left"), "place"),
        (lambda g: masking.square(1, 16, 8, "random"), "generator"),
        (lambda g: masking.squares(1, 16, 4, 0, g), "count"),
        (lambda g: masking.pixels(2, 16, torch.tensor([0.3, float("nan")]), g), "rate"),
        (lambda g: masking.pixels(3, 16, torch.tensor([0.3, 0.3]), g), "rate"),
        (lambda g: masking.draw("circle", 1, 16, g), "kind"),
        (lambda g: masking.draw("square", 1, 16, g, 1.0), "amount"),
        (lambda g: masking.side_of(0.2, 100, "perimeter"), "ratio_of"),
        (lambda g: masking.side_of(0.0, 100), "ratio"),
        (lambda g: masking.apply(_image(), HOLE, "red"), "fill"),
    ],
)
def test_bad_arguments_name_the_parameter(call, message, generator):
    with pytest.raises(ValueError, match=message):
        call(generator)
