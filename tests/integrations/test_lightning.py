"""The callback goes through a checkpoint, ends what it began, and says where it cannot be used."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tests.integrations.clients import (
    CLASSES,
    autoencoder_module,
    classifier,
    data,
    lightning_trainer,
    loader,
    recorded,
)
from torch import nn

from alignmixup import Mixup
from alignmixup.integrations.lightning import Mixing
from alignmixup.taps import FeatureTap

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("processes")]


def fit(module, checkpoint=None, **options):
    program = lightning_trainer(**{"max_epochs": 3, **options})
    program.fit(module, loader(), ckpt_path=checkpoint)
    return program


def weights(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach()


@pytest.mark.parametrize("make", [lambda: classifier(input_probability=0.5), autoencoder_module])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(make, tmp_path):
    whole, first, second = make(), make(), make()
    fit(whole)
    fit(first, max_epochs=1).save_checkpoint(tmp_path / "one.ckpt")
    fit(second, tmp_path / "one.ckpt")
    assert torch.equal(weights(second), weights(whole))
    assert not torch.equal(weights(first), weights(whole))


def test_the_epoch_reaches_the_mixer():
    with recorded() as kept:
        fit(classifier(active_epochs=(1, 2)))
    assert len(kept) == 4  # one epoch of three


Classifier = type(classifier())


class Skips(Classifier):
    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        return None if index % 2 else loss


class Fails(Classifier):
    def training_step(self, batch, index):
        super().training_step(batch, index)
        raise ZeroDivisionError


class Elsewhere(Classifier):
    def training_step(self, batch, index):
        mixed = self.mixing(*batch)
        return mixed.loss(self.model.head(torch.zeros(len(mixed.x), 8, 4, 4)))


class Manual(Classifier):
    automatic_optimization = False

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        assert FeatureTap.of(self.model).depth == 0
        optimizer.step()


class Validates(Classifier):
    def validation_step(self, batch, index):
        self.mixing(*batch)


class Forgets(Classifier):
    def configure_callbacks(self):
        return []


def test_a_step_that_is_skipped_or_fails_leaves_nothing_live():
    skips, fails = Skips(), Fails()
    fit(skips)
    with pytest.raises(ZeroDivisionError):
        fit(fails)
    assert FeatureTap.of(skips.model).depth == FeatureTap.of(fails.model).depth == 0


def test_a_batch_that_never_reaches_its_layer_is_an_error():
    with pytest.raises(RuntimeError, match="never ran in training mode"):
        fit(Elsewhere())


class Annotated(Classifier):
    def training_step(self, batch, index):
        x, y = batch
        mixed = self.mixing(x, y, masks=x[:, 0], boxes=[torch.tensor([[2.0, 2, 9, 9]]) for _ in x])
        loss = mixed.loss(self.model(mixed.x))
        assert mixed.masks.shape == x[:, 0].shape
        assert len(mixed.boxes) == len(x)
        return loss


def test_masks_and_boxes_come_along():
    annotated, plain = Annotated(), Classifier()
    fit(annotated)
    fit(plain)
    assert torch.equal(weights(annotated), weights(plain))


def test_manual_optimization_mixes_as_well():
    manual, automatic = Manual(), Classifier()
    fit(manual)
    fit(automatic)
    assert torch.equal(weights(manual), weights(automatic))


@pytest.mark.parametrize(
    "use",
    [
        lambda: Mixing(Mixup(num_classes=CLASSES))(*data()[:2]),
        lambda: fit(Forgets()),
        lambda: lightning_trainer().fit(Validates(), loader(), loader()),
    ],
    ids=["no trainer", "not registered", "validation"],
)
def test_it_is_refused_where_nothing_would_end_the_mixing(use):
    with pytest.raises(RuntimeError, match=r"outside a training batch.*configure_callbacks"):
        use()


class Alone(type(autoencoder_module())):
    """A module that does not hold the decoder."""

    def __init__(self):
        super().__init__()
        del self.further


class Untrained(type(autoencoder_module())):
    """Its optimiser has the model only."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), lr=0.1)


@pytest.mark.parametrize(("make", "reason"), [(Alone, r"self.further = mixer.module"), (Untrained, "no optimizer has")])
def test_parameters_that_lightning_would_not_train_are_refused(make, reason):
    with pytest.raises(ValueError, match=reason):
        fit(make())


def test_validation_inside_an_epoch_mixes_nothing():
    with recorded() as kept:
        lightning_trainer(val_check_interval=2, gradient_clip_val=0.5).fit(classifier(), loader(), loader())
    assert len(kept) == 4


def test_a_run_that_is_resumed_within_an_epoch_draws_on(tmp_path):
    """Which images it sees then is the loader's matter."""
    whole, second = (classifier(input_probability=0.5) for _ in range(2))
    saved = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    with recorded() as kept:
        fit(whole, max_epochs=2, callbacks=[saved], enable_checkpointing=True)
        fit(second, tmp_path / "step=2.ckpt", max_epochs=2)
    drawn = [(draw.layer, *draw.lam.tolist(), *draw.perm.tolist()) for *_, draw in kept]
    assert len(drawn) == 8 + 6
    assert drawn[2:8] == drawn[8:]
