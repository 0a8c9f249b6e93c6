"""RegMixup."""

from dataclasses import dataclass

import torch
from torch import Tensor

from alignmixup.functional.interpolation import mixup
from alignmixup.methods.base import Draw, DropIn, MixedBatch, PairMixer
from alignmixup.options import option


@dataclass(eq=False, kw_only=True)
class RegMixup(PairMixer):
    """Train on the clean images and, beside them, on their mixtures: mixup as a regulariser.

    The batch is twice as long: the clean images, then the mixtures. Its loss is (CE + η CE of the mixtures) / (1 + η),
    which for η = 1 is the plain mean over the rows, so that such a batch unpacks.

    Source:
        Pinto, Yang, Lim, Torr, Dokania, RegMixup: Mixup as a Regularizer Can Surprisingly Improve Accuracy and Out
        Distribution Robustness, NeurIPS 2022 (arXiv 2206.14502), and its published code.
        Deviation: the paper adds the two losses; its code, as here, averages them.
    """

    alpha: float = option(10.0, paper="20 on CIFAR-10, 10 on CIFAR-100")
    eta: float = option(
        1.0,
        "weight η of the mixtures' loss, that of the clean images being 1; batches unpack with 1 only",
        paper="1",
        above=0,
    )

    @property
    def is_scoped(self) -> bool:
        """The two losses weigh differently, which a target alone cannot say."""
        return self.eta != 1

    def drop_in(self) -> DropIn:
        """Return a callable ``(x, y) -> (x, target)``, both twice as long.

        Raises:
            TypeError: the two losses weigh differently.
        """
        if self.is_scoped:
            raise TypeError(f"RegMixup with eta={self.eta:g} weighs two losses, which a drop-in cannot do: use eta=1")
        return super().drop_in()

    def mix(self, x: Tensor, target: Tensor, draw: Draw) -> MixedBatch:
        """Put the mixtures behind the clean images."""
        draw = self.expect(Draw, draw)
        mixed, mixed_target = mixup(x, draw.perm, draw.lam), self.mixed_target(target, draw)
        return MixedBatch(
            torch.cat((x, mixed)),
            torch.cat((target, mixed_target)),
            torch.cat((target, target)),
            draw,
            lam=torch.cat((torch.ones_like(draw.lam), draw.lam)),
            clean_weight=1 / (1 + self.eta),
            scoped=self.is_scoped,
        )
