"""The callback goes through a checkpoint, ends what it began, and says where it cannot be used."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from tests.integrations.clients import CLASSES, QUIET, autoencoder_module, build, data, loader, recorded
from torch import nn

from alignmixup import Mixup
from alignmixup.integrations.lightning import Mixing
from alignmixup.taps import FeatureTap

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("integrations")]


class Classifier(LightningModule):
    def __init__(self, **options):
        super().__init__()
        self.model, mixer = build(**options)
        self.mixing = Mixing(mixer)

    def configure_callbacks(self):
        return self.mixing

    def training_step(self, batch, index):
        mixed = self.mixing(*batch)
        return mixed.loss(self.model(mixed.x))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, folder=None, **options):
    trainer = Trainer(accelerator="cpu", default_root_dir=folder, **{**QUIET, "max_epochs": 3, **options})
    trainer.fit(module, loader())
    return trainer


def weights(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach()


@pytest.mark.parametrize("make", [lambda: Classifier(input_probability=0.5), autoencoder_module])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(make, tmp_path):
    whole, first, second = make(), make(), make()
    fit(whole)
    stopped = fit(first, max_epochs=1)
    stopped.save_checkpoint(tmp_path / "one.ckpt")
    trainer = Trainer(accelerator="cpu", max_epochs=3, **QUIET)
    trainer.fit(second, loader(), ckpt_path=tmp_path / "one.ckpt")
    assert torch.equal(weights(second), weights(whole))
    assert not torch.equal(weights(first), weights(whole))


def test_the_epoch_reaches_the_mixer():
    with recorded() as kept:
        fit(Classifier(active_epochs=(1, 2)))
    assert len(kept) == 4  # one epoch of three


def test_a_step_that_is_skipped_or_fails_leaves_nothing_live():
    class Skips(Classifier):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            return None if index % 2 else loss

    class Fails(Classifier):
        def training_step(self, batch, index):
            super().training_step(batch, index)
            raise ZeroDivisionError

    skips, fails = Skips(), Fails()
    fit(skips)
    with pytest.raises(ZeroDivisionError):
        fit(fails)
    assert FeatureTap.of(skips.model).depth == FeatureTap.of(fails.model).depth == 0


def test_a_batch_that_never_reaches_its_layer_is_an_error():
    class Elsewhere(Classifier):
        def training_step(self, batch, index):
            mixed = self.mixing(*batch)
            return mixed.loss(self.model.head(torch.zeros(len(mixed.x), 8, 4, 4)))

    with pytest.raises(RuntimeError, match="never ran in training mode"):
        fit(Elsewhere())


def test_manual_optimization_mixes_as_well():
    class Manual(Classifier):
        automatic_optimization = False

        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            assert FeatureTap.of(self.model).depth == 0
            optimizer.step()

    manual, automatic = Manual(), Classifier()
    fit(manual)
    fit(automatic)
    assert torch.equal(weights(manual), weights(automatic))


class Validates(Classifier):
    def validation_step(self, batch, index):
        self.mixing(*batch)


class Forgets(Classifier):
    def configure_callbacks(self):
        return []


@pytest.mark.parametrize(
    "use",
    [
        lambda: Mixing(Mixup(num_classes=CLASSES))(*data()[:2]),
        lambda: fit(Forgets()),
        lambda: Trainer(accelerator="cpu", max_epochs=1, **QUIET).fit(Validates(), loader(), loader()),
    ],
    ids=["no trainer", "not registered", "validation"],
)
def test_it_is_refused_where_nothing_would_end_the_mixing(use):
    with pytest.raises(RuntimeError, match=r"outside a training batch.*configure_callbacks"):
        use()
