"""What the networks for one square hole share: cutting the square out, putting the answer in."""

import torch

from inpaintkit import masking


def _rows_columns(mask: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    top, left, _, _ = masking.bounding_box(mask).unbind(1)
    offsets = torch.arange(side, device=mask.device)
    batch = torch.arange(len(mask), device=mask.device)[:, None, None]
    return batch, (top[:, None] + offsets)[:, :, None], (left[:, None] + offsets)[:, None, :]


def take_patch(image: torch.Tensor, mask: torch.Tensor, side: int) -> torch.Tensor:
    """What the hole hides: (B, C, H, W) -> (B, C, side, side). The hole must be one square of that side."""
    batch, rows, columns = _rows_columns(mask, side)
    return image[batch, :, rows, columns].permute(0, 3, 1, 2)


def put_patch(masked: torch.Tensor, patch: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The picture with the patch in its hole: (B, C, H, W)."""
    batch, rows, columns = _rows_columns(mask, patch.shape[-1])
    filled = masked.clone()
    filled[batch, :, rows, columns] = patch.permute(0, 2, 3, 1).to(masked.dtype)
    return filled


def is_square(mask: torch.Tensor, side: int) -> bool:
    """Whether every hole is one square of ``side`` pixels."""
    top, left, bottom, right = masking.bounding_box(mask).unbind(1)
    return bool(((bottom - top == side) & (right - left == side) & (mask.sum((1, 2, 3)) == side**2)).all())
