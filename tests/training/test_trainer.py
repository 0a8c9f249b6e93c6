"""The loop: against a hand-written one, interruption, accumulation, average, broken losses."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alignmixup import methods
from alignmixup.training import checkpoint
from alignmixup.training.config import Config
from alignmixup.training.engine import Engine
from alignmixup.training.progress.display import Reporter
from alignmixup.training.trainer import InterruptedRunError, Trainer

MakeConfig = Callable[..., Config]
BATCHES, BATCH, CLASSES = 4, 8, 3


class Batches:
    """Random but fixed batches; those of an epoch depend on the epoch alone."""

    def __init__(self, *, batches: int = BATCHES) -> None:
        self.batches, self.num_images, self.epoch, self.skip = batches, batches * BATCH, 0, 0

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int, *, skip_batches: int = 0) -> None:
        self.epoch, self.skip = epoch, skip_batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.epoch)
        for batch in range(self.batches):
            x = torch.randn(BATCH, 5, generator=generator)
            y = (x[:, 0] > 0).long() + (x[:, 1] > 1).long()
            if batch >= self.skip:
                yield x, y


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, CLASSES))


def make_trainer(
    config: Config, path: Path | None = None, *, model: nn.Module | None = None, reporter: Reporter | None = None
) -> Trainer:
    model = network() if model is None else model
    mixer = methods.build("mixup", model=model, num_classes=CLASSES, seed=0, options={"alpha": 1.0})
    return Trainer(
        config=config,
        engine=Engine(config.train),
        model=model,
        mixer=mixer,
        train_loader=Batches(),
        test_loader=Batches(),
        example=torch.zeros(2, 5),
        checkpoint_path=path,
        reporter=reporter,
    )


def numbers(curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A curve without its times."""
    return [{k: v for k, v in row.items() if "second" not in k} for row in curve]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def stop_after_steps(trainer: Trainer, number: int) -> None:
    steps, original = 0, trainer._train_step

    def counted(x: Tensor, y: Tensor) -> bool:
        nonlocal steps
        steps += 1
        trainer.stop_requested = trainer.stop_requested or steps == number
        return original(x, y)

    trainer._train_step = counted  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError):
        trainer.fit()


def stop_between_epochs(trainer: Trainer, number: int) -> None:
    original = trainer._summarise_epoch

    def stopping() -> dict[str, Any]:
        trainer.stop_requested = trainer.epoch + 1 == number
        return original()

    trainer._summarise_epoch = stopping  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError):
        trainer.fit()


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_is_the_plain_loop(tiny_config: MakeConfig) -> None:
    config = tiny_config("schedule.name=constant", "optimizer.lr=0.05", "train.epochs=2")
    trainer = make_trainer(config)
    curve = trainer.fit()

    model = network()
    mixer = methods.build("mixup", model=model, num_classes=CLASSES, seed=0, options={"alpha": 1.0})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, fused=True)
    loader, losses = Batches(), []
    for epoch in range(2):
        model.train()
        mixer.set_epoch(epoch)
        loader.set_epoch(epoch)
        losses = []
        for x, y in loader:
            with mixer(x, y) as batch:
                loss = batch.loss(model(batch.x), F.cross_entropy)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert_same(weights(trainer.model), weights(model))
    assert curve[-1]["train_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert [row["epoch"] for row in curve] == [0, 1]


@pytest.mark.parametrize("stop_after", [1, 3, BATCHES, BATCHES + 2, 3 * BATCHES - 1])
@pytest.mark.parametrize("extra", [(), ("train.ema_decay=0.9", "train.accumulation=3", "optimizer.layer_decay=0.5")])
def test_interrupted_and_resumed_is_bit_for_bit_the_whole_run(
    tiny_config: MakeConfig, tmp_path: Path, stop_after: int, extra: tuple[str, ...]
) -> None:
    config, path = tiny_config(*extra), tmp_path / "checkpoint.pt"
    whole = make_trainer(config)
    torch.manual_seed(7)
    whole_curve = whole.fit()

    first = make_trainer(config, path)
    torch.manual_seed(7)
    stop_after_steps(first, stop_after)

    torch.manual_seed(12345)
    second = make_trainer(config, path)
    second.load(checkpoint.load(path))
    curve = second.fit()
    assert numbers(curve) == numbers(whole_curve)
    assert_same(weights(second.model), weights(whole.model))
    assert_same(weights(second.evaluated_model), weights(whole.evaluated_model))


def test_a_run_stops_and_saves_between_test_batches_too(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config, path = tiny_config(), tmp_path / "checkpoint.pt"
    whole = make_trainer(config)
    torch.manual_seed(7)
    whole_curve = whole.fit()

    first = make_trainer(config, path)
    batches = first._test_batches

    def stopping() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches():
            yield batch
            first.stop_requested = first.epoch == 1

    first._test_batches = stopping  # type: ignore[method-assign]
    torch.manual_seed(7)
    with pytest.raises(InterruptedRunError):
        first.fit()
    state = checkpoint.load(path)
    assert (state["progress"]["epoch"], state["progress"]["step"]) == (1, BATCHES)

    torch.manual_seed(12345)
    second = make_trainer(config, path)
    second.load(state)
    assert numbers(second.fit()) == numbers(whole_curve)
    assert_same(weights(second.model), weights(whole.model))


def test_a_checkpoint_is_written_inside_an_epoch_when_the_last_one_is_old(
    tiny_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tiny_config("train.epochs=1", "train.checkpoint_minutes=2"), tmp_path / "checkpoint.pt")
    monkeypatch.setattr(trainer, "_saved_at", 0.0)
    monkeypatch.setattr("alignmixup.training.trainer.time.monotonic", lambda: 60.0 * trainer.log.step)
    saved: list[int] = []
    original = trainer._save

    def spy() -> None:
        saved.append(trainer.log.step)
        original()

    monkeypatch.setattr(trainer, "_save", spy)
    curve = trainer.fit()
    assert saved == [2, 4, 0]
    assert numbers(curve) == numbers(make_trainer(tiny_config("train.epochs=1")).fit())


def test_accumulation_averages_the_gradients(tiny_config: MakeConfig) -> None:
    # Without batch norm, dropout and mixing, 2 batches of 8 in one update are one batch of 16.
    small = nn.Linear(5, CLASSES)
    start = weights(small)
    config = tiny_config("train.accumulation=2", "train.epochs=1", "method.probability=0.0", "schedule.name=constant")
    trainer = make_trainer(config, model=small)
    trainer.mixer = methods.build("baseline", num_classes=CLASSES)
    trainer.fit()

    reference = nn.Linear(5, CLASSES)
    reference.load_state_dict(start)
    optimizer = torch.optim.SGD(reference.parameters(), lr=config.optimizer.lr, momentum=0.9, weight_decay=1e-4)
    batches = list(Batches())
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        x, y = torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])
        optimizer.zero_grad()
        F.cross_entropy(reference(x), y).backward()
        optimizer.step()
    torch.testing.assert_close(small.weight, reference.weight)


def test_incomplete_last_window_divides_by_its_own_size(tiny_config: MakeConfig) -> None:
    config = tiny_config("train.accumulation=3", "train.epochs=1")
    trainer = make_trainer(config)
    assert trainer.updates_per_epoch == 2
    scales: list[float] = []
    trainer.engine.backward = lambda loss: scales.append(loss.item())  # type: ignore[method-assign]
    trainer._train_epoch()
    ratios = [loss / scale for loss, scale in zip(trainer.log.losses.tolist(), scales, strict=True)]
    assert ratios == pytest.approx([3, 3, 3, 1])


def test_average_is_evaluated(tiny_config: MakeConfig) -> None:
    trainer = make_trainer(tiny_config("train.ema_decay=0.99", "train.epochs=1"))
    trainer.fit()
    assert trainer.evaluated_model is not trainer.model
    assert not torch.equal(trainer.evaluated_model[0].weight, trainer.model[0].weight)  # type: ignore[index]


@pytest.mark.parametrize("bad_step", [0, 2])
def test_a_broken_loss_stops_with_epoch_and_step_and_saves_nothing_bad(
    tiny_config: MakeConfig, tmp_path: Path, bad_step: int
) -> None:
    path = tmp_path / "checkpoint.pt"
    trainer = make_trainer(tiny_config(), path)
    criterion, calls = trainer.criterion, 0

    def broken(logits: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return criterion(logits, target) * (float("nan") if calls == BATCHES + bad_step + 1 else 1.0)

    trainer.criterion = broken
    with pytest.raises(
        FloatingPointError, match=f"epoch 1 step {bad_step} .*last checkpoint is of epoch 1 step 0\\. Try"
    ):
        trainer.fit()
    state = checkpoint.load(path)
    assert state["progress"]["epoch"] == 1
    assert all(value.isfinite().all() for value in state["model"].values())


def test_weights_broken_by_the_last_update_are_not_saved(tiny_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    trainer = make_trainer(tiny_config("train.epochs=1"), path)
    update = trainer.engine.update

    def breaking(optimizer: torch.optim.Optimizer, **options: Any) -> None:
        update(optimizer, **options)
        if trainer.log.step == BATCHES - 1:
            trainer.model[0].weight.data.fill_(float("nan"))  # type: ignore[index, union-attr]

    trainer.engine.update = breaking  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match=r"test loss is not finite at epoch 0 .*there is no checkpoint yet"):
        trainer.fit()
    assert not path.exists()


def test_evaluation_and_checkpoints_come_when_due(tiny_config: MakeConfig, tmp_path: Path) -> None:
    config = tiny_config("evaluation.every=2", "train.epochs=5", "train.checkpoint_every=2")
    trainer = make_trainer(config, tmp_path / "checkpoint.pt")
    saved: list[int] = []
    original = trainer._save

    def spy() -> None:
        saved.append(trainer.epoch)
        original()

    trainer._save = spy  # type: ignore[method-assign]
    curve = trainer.fit()
    assert ["error_percent" in row for row in curve] == [False, True, False, True, True]
    assert saved == [2, 4, 5]


@pytest.mark.parametrize("stop_after", [2 * BATCHES + 1, 2 * BATCHES + 3])
def test_weights_past_the_last_epoch_are_not_taken_for_its(
    tiny_config: MakeConfig, tmp_path: Path, stop_after: int
) -> None:
    path, constant = tmp_path / "checkpoint.pt", "schedule.name=constant"
    stop_after_steps(make_trainer(tiny_config("train.epochs=5", constant), path), stop_after)
    state = checkpoint.load(path)
    shorter = make_trainer(tiny_config("train.epochs=2", constant), path)
    with pytest.raises(ValueError, match=r"2 epochs are trained already, and a part of another: .* at least 3, got 2"):
        shorter.load(state)
    one = make_trainer(tiny_config("train.epochs=1", constant), path)
    with pytest.raises(ValueError, match=r"2 epochs are trained already: train\.epochs must be at least that, got 1"):
        one.load(state)
    longer = make_trainer(tiny_config("train.epochs=3", constant), path)
    longer.load(state)
    assert len(longer.fit()) == 3


def test_the_last_epoch_of_a_run_made_shorter_is_tested(tiny_config: MakeConfig, tmp_path: Path) -> None:
    path, keys = tmp_path / "checkpoint.pt", ("schedule.name=constant", "evaluation.every=4")
    torch.manual_seed(7)
    curve = make_trainer(tiny_config("train.epochs=2", *keys)).fit()
    torch.manual_seed(7)
    stop_between_epochs(make_trainer(tiny_config("train.epochs=8", *keys), path), 2)
    state = checkpoint.load(path)
    assert (state["progress"]["epoch"], "error_percent" in state["curve"][-1]) == (2, False)
    shorter = make_trainer(tiny_config("train.epochs=2", *keys), path)
    shorter.load(state)
    assert numbers(shorter.fit()) == numbers(curve)
    assert shorter.best is not None
    assert shorter.best["epoch"] == 1
    assert numbers(checkpoint.load(path)["curve"]) == numbers(curve)


def test_shows_loss_and_rate_at_most_every_fifth_of_a_second(
    tiny_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(0.11 * tick for tick in range(1000))
    monkeypatch.setattr("alignmixup.training.trainer.time.perf_counter", lambda: next(ticks))
    shown: list[int] = []

    class Spy(Reporter):
        def step(self, *, epoch: int, step: int, loss: float, images_per_second: float) -> None:
            assert loss > 0
            assert images_per_second > 0
            shown.append(step)

    make_trainer(tiny_config("train.epochs=1"), reporter=Spy()).fit()
    assert shown == [2, 4]


def test_a_run_continues_on_as_many_images_of_each_class(tiny_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    first, second = make_trainer(tiny_config(), path), make_trainer(tiny_config(), path)
    for trainer, counts in ((first, (9, 8, 15)), (second, (9, 12, 11))):
        trainer.class_names, trainer.class_counts = ("a", "b", "c"), counts
    stop_after_steps(first, 2)
    state = checkpoint.load(path)
    with pytest.raises(ValueError, match="of other training images: 8 of class 'b' then, 12 now"):
        second.load(state)
    second.load({**state, "class_counts": None})  # an older one


def test_a_run_continues_on_the_same_files(tiny_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    first, second = make_trainer(tiny_config(), path), make_trainer(tiny_config(), path)
    first.class_names = second.class_names = ("a", "b")
    first.image_digests, second.image_digests = {"training": ["1", "2"], "test": ["3", "4"]}, {}
    stop_after_steps(first, 2)
    state = checkpoint.load(path)
    second.load(state)  # images without files, or another process than the first
    for split, digests in (("training", ["1", "9"]), ("test", ["3", "9"])):
        second.image_digests = {**first.image_digests, split: digests}
        with pytest.raises(ValueError, match=f"of other {split} images: those of class 'b' have other names or sizes"):
            second.load(state)
        del state["image_digests"][split]  # an older one
        second.load(state)


def test_checkpoint_of_another_network_is_refused(tiny_config: MakeConfig, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    make_trainer(tiny_config("train.epochs=1"), path).fit()
    other = make_trainer(tiny_config("train.epochs=1"), model=nn.Linear(5, CLASSES))
    with pytest.raises(ValueError, match=r"the checkpoint holds another model: .*Missing key"):
        other.load(checkpoint.load(path))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_on_the_cpu(tiny_config: MakeConfig, precision: str) -> None:
    trainer = make_trainer(tiny_config(f"train.precision={precision}", "train.epochs=4", "train.clip_norm=1.0"))
    with closing(trainer.engine):
        curve = trainer.fit()
    assert curve[-1]["train_loss"] < curve[0]["train_loss"]
    assert all(value.dtype != torch.float16 for value in trainer.model.state_dict().values())
