"""On a CUDA device: the draws and results of the CPU, and no step that waits for the device."""

import pytest
import torch
from tests.networks import fitting

from alignmixup import methods
from alignmixup.models import PreActResNet18

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:AlignMixup at layer:UserWarning")]


@pytest.fixture
def parts(digits_mixer):
    """A network, a mixer and a batch on a device."""

    def build(device, name, **options):
        torch.manual_seed(0)
        net = fitting(name, PreActResNet18(5, width=8, final_norm=True)).to(device)
        mixer = digits_mixer(name, net, **options)
        generator = torch.Generator().manual_seed(1)
        x, y = torch.randn(8, 3, 32, 32, generator=generator), torch.randint(5, (8,), generator=generator)
        return net, mixer, x.to(device), y.to(device)

    return build


@pytest.mark.parametrize("name", methods.available())
def test_a_step_equals_that_of_the_cpu(name, parts):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    losses = []
    for device in ("cpu", "cuda"):
        net, mixer, x, y = parts(device, name)
        found = []
        for _ in range(8):
            with mixer(x, y) as batch:
                loss = batch.loss(net(batch.x))
                loss.backward()
            found.append(loss.item())
        losses.append(found)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", methods.available())
def test_no_step_waits_for_the_device(name, dtype, parts):
    net, mixer, x, y = parts("cuda", name, **({"layer": "stage4"} if name == "alignmixup" else {}))

    def step():
        with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32), mixer(x, y) as batch:
            loss = batch.loss(net(batch.x))
        loss.backward()
        return loss

    for _ in range(8):  # looks for layers, chooses kernels
        step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = sum(step().detach() for _ in range(8))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert bool(torch.isfinite(loss))


def test_no_step_of_the_trainer_waits_for_the_device(tmp_path, monkeypatch):
    from alignmixup.runs.folder import RunFolder
    from alignmixup.runs.training import train
    from alignmixup.training.config_file import load
    from alignmixup.training.trainer import Trainer

    step, calls = Trainer._train_step, []

    def watched(self, x, y):
        calls.append(x.device.type)
        torch.cuda.set_sync_debug_mode("error" if self.epoch else "default")  # the first epoch finds layers and kernels
        try:
            return step(self, x, y)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "_train_step", watched)
    train(load("digits/alignmixup", ["train.epochs=2", "train.device=cuda"]), RunFolder(tmp_path / "run"))
    assert set(calls) == {"cuda"}
