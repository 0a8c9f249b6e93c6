"""A mixing Trainer weighs examples as the Trainer does, goes through a checkpoint and leaves evaluation alone."""

import pytest
import torch
from tests.integrations.clients import CLASSES, Named, Net, arguments, data, recorded, vit
from torch import nn
from transformers import Trainer

from alignmixup import AlignMixup, AlignMixupAE, Baseline, CutMix
from alignmixup.integrations.transformers import MixingTrainer

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("processes")]


class Plain(nn.Module):
    """A model that is not Hugging Face's: other names, a tuple, no further keywords."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = Net()

    def forward(self, pixel_values, labels=None):
        logits = self.net(pixel_values)
        return (logits,) if labels is None else (nn.functional.cross_entropy(logits, labels), logits)


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def train(model, folder, rows, cls=Trainer, resume=None, options=None, **changes):
    changes = {"learning_rate": 0.01, "optim": "sgd", **changes}
    program = cls(
        model, arguments(folder, **changes), train_dataset=Named(rows), eval_dataset=Named(rows), **(options or {})
    )
    program.train(resume_from_checkpoint=resume)
    return program


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("make", [lambda: vit()[0], Plain])
def test_without_mixing_it_is_the_trainer(make, accumulate, tmp_path):
    rows = torch.utils.data.Subset(data(), range(13))  # batches of 4, 4, 4 and 1
    first, second = make(), make()
    options = {"gradient_accumulation_steps": accumulate, "num_train_epochs": 2}
    train(first, tmp_path, rows, **options)
    mixer = Baseline(second, num_classes=CLASSES)
    train(second, tmp_path, rows, MixingTrainer, options={"mixer": mixer}, **options)
    torch.testing.assert_close(weights(second), weights(first), rtol=1e-5, atol=1e-6)


def test_evaluation_and_prediction_are_untouched(tmp_path):
    model, mixer = vit()
    program = train(model, tmp_path, data(), MixingTrainer, options={"mixer": mixer})
    plain = Trainer(model, arguments(tmp_path), eval_dataset=Named(data()))
    with recorded() as kept:
        assert program.evaluate()["eval_loss"] == plain.evaluate()["eval_loss"]
        assert program.predict(Named(data())).predictions.shape == (len(data()), CLASSES)
    assert not kept


@pytest.mark.parametrize("resume", [True, "checkpoint-4"])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(resume, tmp_path, monkeypatch):
    def run(folder, epochs, resume=None):
        model = Plain()  # transformers 5.24 does not load back what it saved of a ViT
        mixer = AlignMixup(model, layer="net.two.1", num_classes=CLASSES)
        options = {"num_train_epochs": epochs, "save_strategy": "epoch", "lr_scheduler_type": "constant"}
        train(model, folder, data(), MixingTrainer, resume, {"mixer": mixer}, **options)
        return weights(model)

    whole = run(tmp_path / "whole", 3)
    run(tmp_path / "parts", 1)
    resumed = run(tmp_path / "parts", 3, resume if resume is True else str(tmp_path / "parts" / resume))
    assert torch.equal(resumed, whole)


def test_the_epoch_reaches_the_mixer(tmp_path):
    model, mixer = vit(active_epochs=(1, 2))
    with recorded() as kept:
        train(model, tmp_path, data(), MixingTrainer, options={"mixer": mixer}, num_train_epochs=3)
    assert len(kept) == 4  # one epoch of three


def test_a_model_of_ones_own_is_mixed(tmp_path):
    model = Plain()
    mixer = AlignMixup(model, layer="net.two.1", num_classes=CLASSES, input_probability=0.0)
    with recorded() as kept:
        train(model, tmp_path, data(), MixingTrainer, options={"mixer": mixer})
    assert len(kept) == 4


@pytest.mark.parametrize(
    ("changes", "options", "named"),
    [
        ({}, {"compute_loss_func": lambda *_, **__: None}, "compute_loss_func"),
        ({"label_smoothing_factor": 0.1}, {}, "label_smoothing_factor"),
    ],
)
def test_what_would_bypass_the_mixing_is_refused(changes, options, named, tmp_path):
    model, mixer = vit()
    with pytest.raises(ValueError, match=named):
        MixingTrainer(model, arguments(tmp_path, **changes), mixer=mixer, **options)


def test_a_batch_without_labels_is_refused(tmp_path):
    class Unlabelled(Named):
        def __getitem__(self, index):
            return {"pixel_values": self.rows[index][0]}

    model, mixer = vit()
    program = MixingTrainer(model, arguments(tmp_path), mixer=mixer, train_dataset=Unlabelled(data()))
    with pytest.raises(ValueError, match="'labels'"):
        program.train()


def autoencoder(model):
    mixer = AlignMixupAE(model, layer="net.two.1", num_classes=CLASSES, clean_share=0.5, decoder_width=2)
    mixer.prepare(size=16)
    return mixer


def test_the_parameters_of_a_method_are_trained(tmp_path):
    model = Plain()
    mixer = autoencoder(model)
    before = weights(mixer.module).clone()
    train(model, tmp_path, data(), MixingTrainer, options={"mixer": mixer}, optim="adamw_torch")
    assert not torch.equal(weights(mixer.module), before)


def test_an_optimizer_without_the_parameters_of_a_method_is_refused(tmp_path):
    model = Plain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="the optimizer needs the parameters"):
        MixingTrainer(model, arguments(tmp_path), mixer=autoencoder(model), optimizers=(optimizer, None))


def test_several_labels_an_example_and_workers(tmp_path):
    model = Plain()
    model.forward = lambda pixel_values, labels=None: (
        (
            (nn.functional.binary_cross_entropy_with_logits(model.net(pixel_values), labels),)
            if labels is not None
            else ()
        )
        + (model.net(pixel_values),)
    )
    x, y = data().tensors
    rows = [{"pixel_values": image, "labels": torch.eye(CLASSES)[label]} for image, label in zip(x, y, strict=True)]
    mixer = AlignMixup(model, layer="net.two.1", num_classes=CLASSES, multi_label=True, input_probability=0.0)
    options = {"mixer": mixer, "criterion": nn.functional.binary_cross_entropy_with_logits}
    program = MixingTrainer(model, arguments(tmp_path, dataloader_num_workers=1), train_dataset=rows, **options)
    with recorded() as kept:
        loss = program.train().training_loss
    assert len(kept) == 4
    assert 0.5 < loss < 1.0


class Annotated(Named):
    """Rows with where the object is, and boxes; eval rows have them too."""

    def __getitem__(self, index):
        mask = torch.zeros(16, 16, dtype=torch.bool)
        mask[: 4 + 3 * index % 12] = True
        return {**super().__getitem__(index), "masks": mask, "boxes": torch.tensor([[2.0, 2.0, 9.0, 9.0]])}


class Watching(MixingTrainer):
    def compute_loss(self, model, inputs, *args, **kwargs):
        assert not {"masks", "boxes"} & set(inputs)
        if self.batch is not None:
            self.seen.append((self.batch.target.clone(), self.batch.masks, len(self.batch.boxes)))
        return super().compute_loss(model, inputs, *args, **kwargs)


class Noting(CutMix):
    def __call__(self, x, y, **given):
        self.called = x, y, given
        return super().__call__(x, y, **given)


@pytest.mark.parametrize("remove_unused", [True, False])
def test_masks_and_boxes_come_along(remove_unused, tmp_path):
    model = Plain()
    mixer = Noting(model, num_classes=CLASSES, labels="visible", seed=0)
    rows, changes = Annotated(data(batches=1)), {"remove_unused_columns": remove_unused}
    program = Watching(model, arguments(tmp_path, **changes), mixer=mixer, train_dataset=rows, eval_dataset=rows)
    program.seen = []
    program.train()
    x, y, given = mixer.called
    ((target, masks, boxes),) = program.seen
    by_hand = CutMix(num_classes=CLASSES, labels="visible", seed=0)(x, y, **given)
    assert torch.equal(target, by_hand.target)
    assert torch.equal(masks, by_hand.masks)
    assert boxes == len(by_hand.boxes)
    program.evaluate()


def test_masks_that_the_model_itself_takes_are_its_own(tmp_path):
    class Masked(Plain):
        def forward(self, pixel_values, masks, labels=None):
            return super().forward(pixel_values * masks[:, None], labels)

    model = Masked()
    mixer = CutMix(model, num_classes=CLASSES)
    MixingTrainer(model, arguments(tmp_path), mixer=mixer, train_dataset=Annotated(data(batches=1))).train()
