"""Move salient blocks into the visible part of a mask: Puzzle Mix's auction, a whole batch at once."""

import torch
from torch import Tensor

_UNIT = 2.0**34  # costs are whole multiples of 1 / 2^34, so that they and an index fit into the 53 bits of a float64
_CPU_ENTRIES = 2**20  # prices of a part of the batch: they stay in the processor's cache
_DEVICE_ENTRIES = 2**27


def auction(mask: Tensor, share: Tensor, cost_weight: float) -> Tensor:
    """Run the auction; see :func:`alignmixup.functional.puzzlemix_transport`.

    Of the mask (B, n, n) only which weights are > 0 matters; ``share`` (B, n, n) is the saliency of the blocks. Gives
    (B, n²) int64, the source of each target, -1 where none.
    """
    blocks = mask.shape[-1]
    entries = _CPU_ENTRIES if mask.device.type == "cpu" else _DEVICE_ENTRIES
    part = max(1, entries // blocks**4)
    parts = zip(torch.split(mask.flatten(1), part), torch.split(share.flatten(1), part), strict=True)
    plans = [_auction_part(visible > 0, value, blocks, cost_weight) for visible, value in parts]
    return torch.cat(plans) if plans else mask.new_zeros((0, blocks**2), dtype=torch.int64)


def _auction_part(visible: Tensor, share: Tensor, blocks: int, cost_weight: float) -> Tensor:
    """Run the auction for a few samples; every sample alone would give the same.

    A price carries the index of its target in its last digits, a bid that of its source: one minimum then finds value
    and place, and the first place of equal values. So that a round need not look at all prices, the least price in each
    row of targets is kept, and only the row with a price that has risen is looked at again.
    """
    samples, positions = share.shape
    bidders = samples * positions
    price = _prices(visible, share, blocks, cost_weight)
    rows, prices = price.view(blocks, blocks * bidders), price.view(-1)
    least = rows.amin(dim=0).view(blocks, bidders)
    bidder = torch.arange(bidders, device=share.device)
    source = bidder.view(samples, positions) % positions
    for _ in range(blocks):
        best = least.amin(dim=0).view(samples, positions)
        digits = best.remainder(positions)
        target = digits.long()
        bid = best - digits + source
        # a bid must beat a cost of 0 (held by source 0, which meets it): hidden targets stay empty, as published
        kept = torch.zeros_like(bid).scatter_reduce_(1, target, bid, "amin")
        lost = bid != kept.gather(1, target)
        row = (digits.view(-1) / blocks).long()
        column = target.view(-1) - row * blocks
        prices.scatter_add_(0, (column * blocks + row) * bidders + bidder, lost.view(-1).double() * (_UNIT * positions))
        row = row * bidders + bidder
        least.view(-1).scatter_(0, row, rows.gather(1, row.expand(blocks, -1)).amin(dim=0))
    plan = torch.full((samples, positions + 1), -1, device=share.device)
    plan.scatter_(1, target.masked_fill(lost, positions), source)
    return plan[:, :positions]


def _prices(visible: Tensor, share: Tensor, blocks: int, cost_weight: float) -> Tensor:
    """Cost of every move in units of 1 / 2^34, with the target in the last digits: float64 of whole numbers.

    Returns:
        (n, n, B, n²): column of the target, row of the target, sample, source.
    """
    # rounded up: what is not 0 must not become 0, where bids stop being kept
    step = torch.arange(blocks, device=share.device, dtype=torch.float64)
    square = (step[:, None] - step).square()
    distance = square[:, None, None, :] + square[None, :, :, None]  # column and row of target, row and column of source
    target = step[:, None] + step * blocks
    travel = (distance.flatten(2) * (cost_weight * _UNIT / max(blocks - 1, 1) ** 2)).ceil_()
    travel = travel * blocks**2 + target[..., None]
    # a block without saliency would not even bid for its own place, which would be empty in full view
    gain = (share.double() * _UNIT).ceil_().clamp_min_(1) * blocks**2
    seen = visible.double().view(-1, blocks, blocks).permute(2, 1, 0).contiguous()
    return torch.addcmul(travel[:, :, None], gain, seen[..., None], value=-1)
