from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F

from alignmixup import ManifoldMixup, Mixup
from alignmixup.methods import MixedBatch, PairMixer


@dataclass(eq=False, kw_only=True)
class WithAuxiliary(PairMixer):
    def mix(self, x, target, draw):
        return MixedBatch(x, target, target, draw, auxiliary=x.sum)


def test_methods_with_an_auxiliary_loss_are_refused(batch):
    with pytest.raises(TypeError, match="WithAuxiliary has an auxiliary loss, which a drop-in cannot add"):
        WithAuxiliary(num_classes=5).drop_in()(*batch)


def test_a_batch_that_never_reached_the_layer_is_reported_at_the_next_call(net, batch):
    mixup_fn = ManifoldMixup(net, num_classes=5, layer="stage1", input_probability=0.0).drop_in()
    mixup_fn(*batch)
    with pytest.raises(RuntimeError, match="layer 'stage1' never ran"):
        mixup_fn(*batch)


def test_another_batch_size_at_the_layer_is_reported(net, batch):
    mixup_fn = ManifoldMixup(net, num_classes=5, layer="stage1", input_probability=0.0).drop_in()
    x, _ = mixup_fn(*batch)
    with pytest.raises(ValueError, match=r"does not match perm of shape \(7,\)"):
        net(x[:3])


def test_evaluation_between_the_calls_is_clean(net, batch):
    mixup_fn = ManifoldMixup(net, num_classes=5, layer="stage1", input_probability=0.0).drop_in()
    clean = net.eval()(batch[0])
    net.train()
    x, target = mixup_fn(*batch)
    F.cross_entropy(net(x), target).backward()
    fresh = net.state_dict()
    net.eval()
    inside = net(batch[0])
    mixup_fn.close()
    assert torch.equal(inside, net(batch[0]))
    assert fresh.keys() == net.state_dict().keys()
    assert inside.shape == clean.shape


def test_mixup_enabled_switches_mixing_off(batch):
    mixup_fn = Mixup(num_classes=5).drop_in()
    mixup_fn.mixup_enabled = False
    x, target = mixup_fn(*batch)
    assert x is batch[0]
    assert torch.equal(target, F.one_hot(batch[1], 5).float())
