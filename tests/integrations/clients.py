"""One small training in each program, and the same by hand from the draws that it made."""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from alignmixup import AlignMixup, AlignMixupAE, Switch

CLASSES, BATCH, BATCHES = 5, 4, 4
# A soft plan: a sharp one multiplies what is rounded otherwise by two processes.
SETTING = {"input_probability": 0.0, "epsilon": 10.0}


@dataclass(frozen=True)
class Case:
    """How to train: batches a step, ``use_reentrant`` of activation checkpointing or None, and autocast."""

    accumulate: int = 1
    reentrant: bool | None = None
    bf16: bool = False

    @property
    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16) if self.bf16 else nullcontext()


CASES = [Case(), Case(2, True), Case(2, False, True), Case(1, True, True)]


class Net(nn.Module):
    def __init__(self, reentrant=None):
        super().__init__()
        self.reentrant = reentrant
        self.one = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, CLASSES))

    def forward(self, x):
        x = self.one(x)
        x = self.two(x) if self.reentrant is None else checkpoint(self.two, x, use_reentrant=self.reentrant)
        return self.head(x)


def build(reentrant=None, **options):
    torch.manual_seed(0)
    net = Net(reentrant)
    return net, AlignMixup(net, layer="two.1", num_classes=CLASSES, **{**SETTING, **options})


def data(rank=0, batches=BATCHES):
    generator = torch.Generator().manual_seed(10 + rank)
    size = BATCH * batches
    return TensorDataset(
        torch.randn(size, 3, 16, 16, generator=generator), torch.randint(CLASSES, (size,), generator=generator)
    )


def loader(rank=0):
    return DataLoader(data(rank), batch_size=BATCH)


def gradient_of(parameters):
    """All gradients as one vector, of those that there are."""
    found = [p.grad for p in parameters if p.grad is not None]
    return torch.cat(
        [torch.empty(0)]
        + [(g.full_tensor() if hasattr(g, "full_tensor") else g).detach().flatten().clone() for g in found]
    )


class Steps(list):
    """The gradients of each optimiser step."""

    def follow(self, optimizer):
        def note(optimizer, args, kwargs):
            self.append(gradient_of(p for group in optimizer.param_groups for p in group["params"]))

        optimizer.register_step_post_hook(note)
        return optimizer


@contextmanager
def recorded():
    """Note every batch that is mixed, with its draw."""
    kept, mix = [], AlignMixup.mix

    def noted(self, x, target, draw):
        kept.append((x.detach().clone(), target.clone(), draw))
        return mix(self, x, target, draw)

    with patch.object(AlignMixup, "mix", noted):
        yield kept


def by_hand(net, mixer, ranks, case, logits=lambda output: output, criterion=F.cross_entropy):
    """Gradients of each step of a loop written out, over the batches of all ranks."""
    mixer.prepare(ranks[0][0][0])
    net.train()
    optimizer, found = torch.optim.SGD(net.parameters(), lr=0.1), []
    for start in range(0, len(ranks[0]), case.accumulate):
        for rank in ranks:
            group = rank[start : start + case.accumulate]
            for x, target, draw in group:
                with mixer.mix(x, target, draw) as batch:
                    with case.autocast:
                        loss = batch.loss(logits(net(batch.x)), criterion)
                    (loss / len(group) / len(ranks)).backward()
        found.append(gradient_of(net.parameters()))
        optimizer.step()
        optimizer.zero_grad()
    return found


# each client: (gradients of each step, number of batches mixed in evaluation)


def classifier(reentrant=None, **options):
    """A LightningModule that mixes."""
    from lightning.pytorch import LightningModule

    from alignmixup.integrations.lightning import Mixing

    class Classifier(LightningModule):
        def __init__(self):
            super().__init__()
            self.model, mixer = build(reentrant, **options)
            self.mixing = Mixing(mixer)
            self.steps = Steps()

        def configure_callbacks(self):
            return self.mixing

        def training_step(self, batch, index):
            mixed = self.mixing(*batch)
            return mixed.loss(self.model(mixed.x))

        def validation_step(self, batch, index):
            self.log("error", F.cross_entropy(self.model(batch[0]), batch[1]), sync_dist=True)

        def configure_optimizers(self):
            return self.steps.follow(torch.optim.SGD(self.parameters(), lr=0.1))

    return Classifier()


def lightning_trainer(ranks=1, **options):
    from lightning.pytorch import Trainer

    spread = {"strategy": "ddp" if ranks > 1 else "auto", "devices": ranks, "use_distributed_sampler": False}
    return Trainer(accelerator="cpu", **{**QUIET, **spread, "max_epochs": 1, **options})


def lightning(case, rank=0, ranks=1):
    module = classifier(case.reentrant)
    precision = "bf16-mixed" if case.bf16 else "32-true"
    program = lightning_trainer(ranks, accumulate_grad_batches=case.accumulate, precision=precision)
    with recorded() as kept:
        program.fit(module, loader(rank))
        mixes = len(kept)
        program.validate(module, loader(rank))
    return module.steps, kept, len(kept) - mixes


def lightning_resumed(rank, ranks, folder):
    """Weights λ of a second epoch, and those after a stop between the two."""

    def second_epoch(program, checkpoint=None):
        with recorded() as kept:
            program.fit(classifier(), loader(rank), ckpt_path=checkpoint)
        return [float(draw.lam[0]) for *_, draw in kept[-BATCHES:]]

    whole = second_epoch(lightning_trainer(ranks, max_epochs=2))
    stopped = lightning_trainer(ranks)
    second_epoch(stopped)
    stopped.save_checkpoint(f"{folder}/one.ckpt")
    return whole, second_epoch(lightning_trainer(ranks, max_epochs=2), f"{folder}/one.ckpt")


def autoencoder_module():
    """A LightningModule with AlignMixup/AE, whose decoder is a part of it."""
    from lightning.pytorch import LightningModule

    from alignmixup.integrations.lightning import Mixing

    class Classifier(LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.model = Net()
            mixer = AlignMixupAE(self.model, layer="two.1", num_classes=CLASSES, clean_share=0.5, decoder_width=2)
            mixer.prepare(size=16)
            self.further = mixer.module
            self.mixing = Mixing(mixer)

        def configure_callbacks(self):
            return self.mixing

        def training_step(self, batch, index):
            mixed = self.mixing(*batch)
            return mixed.loss(self.model(mixed.x))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Classifier()


def lightning_autoencoder(rank=0, ranks=1):
    """The decoder's weights before and after."""
    module = autoencoder_module()
    before = nn.utils.parameters_to_vector(module.further.parameters()).detach().clone()
    lightning_trainer(ranks).fit(module, loader(rank))
    return before, nn.utils.parameters_to_vector(module.further.parameters()).detach()


def unwrapped_decoder(how, rank, ranks):
    """What is said, and whether the decoder would drift, where it is wrapped but the mixer has the bare one."""
    import logging

    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    torch.manual_seed(rank)
    net = Net()
    mixer = AlignMixupAE(net, layer="two.1", num_classes=CLASSES, clean_share=0.5, decoder_width=2)
    mixer.prepare(size=16)
    if how == "wrapped elsewhere":
        DistributedDataParallel(mixer.module)
    elif how == "put back":
        mixer.decoder = DistributedDataParallel(mixer.module)
    elif how == "sharded":
        fully_shard(mixer.module, mesh=init_device_mesh("cpu", (ranks,)))
    elif how == "averaged by the loop":
        mixer.averaged_by_loop = True
    elif how == "in a switch":
        mixer = Switch(net, mixers=[mixer, "mixup"], num_classes=CLASSES)
    model, said = DistributedDataParallel(net), []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("alignmixup").addHandler(handler)
    for x, y in loader(rank):
        with mixer(x, y) as batch:
            batch.loss(model(batch.x)).backward()
    logging.getLogger("alignmixup").removeHandler(handler)
    return [text for text in said if "will differ between the 2 processes" in text]


def accelerate_decoder(rank, ranks):
    """The network and the decoder after three steps, and gradients of each, under Accelerate as the page writes it."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state()
    GradientState._reset_state()
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(rank)
    net = Net()
    mixer = AlignMixupAE(net, layer="two.1", num_classes=CLASSES, clean_share=0.5, decoder_width=2)
    mixer.prepare(size=16)
    mixer.decoder = accelerator.prepare(mixer.decoder)
    optimizer = torch.optim.SGD([*net.parameters(), *mixer.parameters()], lr=0.05)
    model, prepared = accelerator.prepare(net, optimizer)
    gradients = []
    for (x, y), _ in zip(loader(rank), range(3), strict=False):
        with mixer(x, y) as batch:
            accelerator.backward(batch.loss(model(batch.x)))
        gradients.append(gradient_of(mixer.parameters()))
        prepared.step()
        prepared.zero_grad()
    parameters = [*net.parameters(), *mixer.parameters()]
    return gradients, nn.utils.parameters_to_vector(parameters).detach()


def own_loop_decoder(kind, rank, ranks):
    """When a rank reconstructed, and its decoder, of a loop whose processes draw different kinds of batches."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    torch.manual_seed(rank)
    net = Net()
    options = {"clean_share": 0.3, "reconstruct_aligned": True, "probability": 1.0 if kind == "switch" else 0.5}
    coder = AlignMixupAE(net, layer="two.1", num_classes=CLASSES, decoder_width=2, **options)
    mixer = Switch(net, mixers=[coder, "mixup", "baseline"], num_classes=CLASSES) if kind == "switch" else coder
    mixer.prepare(size=(16, 16))
    if kind == "fsdp":
        mesh = init_device_mesh("cpu", (ranks,))
        model, _ = fully_shard(net, mesh=mesh), fully_shard(coder.module, mesh=mesh)
    else:
        model, coder.decoder = DistributedDataParallel(net), DistributedDataParallel(coder.decoder)
    optimizer, reconstructed = torch.optim.SGD([*model.parameters(), *mixer.parameters()], lr=0.05, momentum=0.9), []
    for _ in range(3):
        for x, y in loader(rank):
            with mixer(x, y) as batch:
                reconstructed.append(getattr(batch.auxiliary, "func", None) is not None)
                batch.loss(model(batch.x)).backward()
            optimizer.step()
            optimizer.zero_grad()
    weights = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in mixer.parameters()]
    return reconstructed, nn.utils.parameters_to_vector(weights).detach()


QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 1,
}


def vit(**options):
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=4
    )
    config.num_labels = CLASSES
    model = ViTForImageClassification(config)
    mixer = AlignMixup(model, layer="vit.layers.0", num_classes=CLASSES, **{**SETTING, **options})
    return model, mixer


class Named(torch.utils.data.Dataset):
    """Examples as Hugging Face's models take them."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        x, y = self.rows[index]
        return {"pixel_values": x, "labels": int(y)}


def arguments(folder, case=None, **changes):
    from transformers import TrainingArguments

    case = case or Case()
    checkpointed = case.reentrant is not None
    options = {
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 1,
        "gradient_accumulation_steps": case.accumulate,
        "gradient_checkpointing": checkpointed,
        "gradient_checkpointing_kwargs": {"use_reentrant": case.reentrant} if checkpointed else None,
        "bf16": case.bf16,
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(output_dir=str(folder), **{**options, **changes})


def trainer(case, rank=0, ranks=1, folder="unused"):
    from torch.optim.lr_scheduler import LambdaLR

    from alignmixup.integrations.transformers import MixingTrainer

    model, mixer = vit()
    steps = Steps()
    optimizer = steps.follow(torch.optim.SGD(model.parameters(), lr=0.1))
    rows = torch.utils.data.ConcatDataset([data(each) for each in range(ranks)])
    with recorded() as kept:
        program = MixingTrainer(
            model,
            arguments(folder, case),
            mixer=mixer,
            train_dataset=Named(rows),
            eval_dataset=Named(rows),
            optimizers=(optimizer, LambdaLR(optimizer, lambda step: 1.0)),
        )
        program.train()
        mixes = len(kept)
        program.evaluate()
        in_evaluation = len(kept) - mixes
    return steps, kept, in_evaluation


def accelerate(case, rank=0, ranks=1):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state()
    GradientState._reset_state()
    accelerator = Accelerator(
        cpu=True, mixed_precision="bf16" if case.bf16 else "no", gradient_accumulation_steps=case.accumulate
    )
    net, mixer = build(case.reentrant)
    steps = Steps()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    model, prepared = accelerator.prepare(net, optimizer)
    with recorded() as kept:
        for x, y in loader(rank):
            with accelerator.accumulate(model), mixer(x, y) as batch:
                loss = batch.loss(model(batch.x))
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    steps.append(gradient_of(net.parameters()))
                prepared.step()
                prepared.zero_grad()
        mixes = len(kept)
        model.eval()
        for x, y in loader(rank):
            assert mixer(x, y).x is x
    return steps, kept, len(kept) - mixes


def fsdp(case, rank=0, ranks=1):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    net, mixer = build(case.reentrant)
    mesh = init_device_mesh("cpu", (ranks,))
    for module in (net.one, net.two, net):
        fully_shard(module, mesh=mesh)
    steps = Steps()
    optimizer = steps.follow(torch.optim.SGD(net.parameters(), lr=0.1))
    with recorded() as kept:
        for index, (x, y) in enumerate(loader(rank)):
            with mixer(x, y) as batch:
                with case.autocast:
                    loss = batch.loss(net(batch.x))
                (loss / case.accumulate).backward()
            if (index + 1) % case.accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
    return steps, kept, 0


def skorch(case):
    from skorch import NeuralNetClassifier

    steps = Steps()

    class Mixed(NeuralNetClassifier):
        def initialize_module(self):
            super().initialize_module()
            self.mixer = AlignMixup(self.module_, layer="two.1", num_classes=CLASSES, **SETTING)
            return self

        def train_step_single(self, batch, **fit_params):
            self._set_training(True)
            with self.mixer(*batch) as mixed:
                with case.autocast:
                    logits = self.infer(mixed.x)
                    loss = mixed.loss(logits, self.criterion_)
                (loss / case.accumulate).backward()
            return {"loss": loss, "y_pred": logits}

        def train_step(self, batch, **fit_params):  # accumulates as skorch's FAQ does
            self.count = getattr(self, "count", 0) + 1
            step = self.train_step_single(batch, **fit_params)
            if self.count % case.accumulate == 0:
                self.optimizer_.step()
                self.optimizer_.zero_grad()
            return step

        def initialize_optimizer(self, *args, **kwargs):
            super().initialize_optimizer(*args, **kwargs)
            steps.follow(self.optimizer_)
            return self

    torch.manual_seed(0)
    rows = data()
    program = Mixed(
        Net,
        module__reentrant=case.reentrant,
        criterion=nn.CrossEntropyLoss,
        lr=0.1,
        batch_size=BATCH,
        max_epochs=1,
        verbose=0,
        train_split=None,
    )
    with recorded() as kept:
        program.fit(rows, torch.stack([y for _, y in rows]))
        mixes = len(kept)
        program.predict(rows)
    return steps, kept, len(kept) - mixes


def ignite(case):
    from ignite.engine import Engine

    net, mixer = build(case.reentrant)
    steps = Steps()
    optimizer = steps.follow(torch.optim.SGD(net.parameters(), lr=0.1))

    def train(engine, items):
        net.train()
        with mixer(*items) as batch:
            with case.autocast:
                loss = batch.loss(net(batch.x))
            (loss / case.accumulate).backward()
        if engine.state.iteration % case.accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()

    def evaluate(engine, items):
        net.eval()
        assert mixer(*items).x is items[0]

    with recorded() as kept:
        Engine(train).run(loader())
        mixes = len(kept)
        Engine(evaluate).run(loader())
    return steps, kept, len(kept) - mixes


def timm(case):
    """The loop of timm's train.py, which calls ``mixup_fn(input, target)``."""
    from timm.loss import SoftTargetCrossEntropy

    net, mixer = build(case.reentrant)
    mixup_fn, loss_fn, steps = mixer.drop_in(), SoftTargetCrossEntropy(), Steps()
    optimizer = steps.follow(torch.optim.SGD(net.parameters(), lr=0.1))
    with recorded() as kept:
        for index, items in enumerate(loader()):
            x, target = mixup_fn(*items)
            with case.autocast:
                loss = loss_fn(net(x), target)
            (loss / case.accumulate).backward()
            if (index + 1) % case.accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
        mixes = len(kept)
        net.eval()
        for x, _ in loader():
            net(x)  # timm's validation knows no mixup_fn; the last batch is still live
    mixup_fn.close()
    return steps, kept, len(kept) - mixes
