"""How well AlignMixup/AE reconstructs CIFAR-100's test images from the last map of PreActResNet-18.

    python benchmarks/reconstruction.py ROOT                        # the autoencoder branch on a narrow network
    python benchmarks/reconstruction.py ROOT --width 64 --device cuda --steps 20000
    python benchmarks/reconstruction.py ROOT --clean-share 0.3333   # as the method trains

ROOT holds cifar-100-python. Prints, while training, the mean over test images of the peak signal-to-noise ratio in
decibels of the decoded pixels in [0, 1], beside two references: an image of the test images' mean pixel, and each
image's own four by four block means. Exit status 1 where the last ratio is below --at-least.
"""

import argparse
import math
import sys
import time
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from alignmixup import data
from alignmixup.functional.reconstruction import peak_signal_to_noise
from alignmixup.methods.alignmixup_ae import AlignMixupAE
from alignmixup.models import PreActResNet18


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder that holds cifar-100-python")
    parser.add_argument("--width", type=int, default=16, help="channels of the network's first stage (default: 16)")
    parser.add_argument("--decoder-width", type=int, default=24, help="(default: 24)")
    parser.add_argument("--clean-share", type=float, default=1.0, help="share of clean batches (default: 1, all)")
    parser.add_argument("--weight", type=float, default=10.0, help="of the reconstruction loss (default: 10)")
    parser.add_argument("--loss", default="mse", help="mse, l1 or perceptual (default: mse)")
    parser.add_argument("--steps", type=int, default=1500, help="updates (default: 1500)")
    parser.add_argument("--batch", type=int, default=32, help="(default: 32)")
    parser.add_argument("--lr", type=float, default=2e-3, help="of AdamW, falls as a cosine to 0 (default: 0.002)")
    parser.add_argument(
        "--decoder-lr", type=float, default=2e-2, help="of the decoder, whose weights are larger (default: 0.02)"
    )
    parser.add_argument("--test-images", type=int, default=1000, help="(default: 1000)")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-least", type=float, default=0.0, metavar="DB", help="what the last ratio must reach")
    return parser.parse_args()


def references(images: Tensor) -> str:
    mean = images.mean(dim=(0, 2, 3), keepdim=True).expand_as(images)
    blocks = F.interpolate(F.avg_pool2d(images, 8), scale_factor=8, mode="nearest")
    found = (peak_signal_to_noise(other, images).mean().item() for other in (mean, blocks))
    return "test images' mean pixel {:.2f} dB, own block means {:.2f} dB".format(*found)


def measure(model: PreActResNet18, mixer: AlignMixupAE, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean peak signal-to-noise ratio in decibels, and test error in percent."""
    with torch.no_grad():
        ratios = [peak_signal_to_noise(mixer.decode(mixer.encode(part)), mixer.pixels(part)) for part in x.split(250)]
        model.eval()
        right = sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(x.split(250), y.split(250), strict=True))
        model.train()
    return torch.cat(ratios).mean().item(), 100 - 100 * right / len(y)


def main() -> None:
    chosen = options()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    dataset = data.load("cifar100", root=chosen.root)
    common = {"device": chosen.device, "channels_last": True, "seed": chosen.seed}
    train, test = data.build_loaders(
        dataset, batch_size=chosen.batch, eval_batch_size=chosen.test_images, drop_last=True, **common
    )
    test_x, test_y = next(iter(test))
    model = PreActResNet18(100, width=chosen.width).to(chosen.device, memory_format=torch.channels_last)
    mixer = AlignMixupAE(
        model,
        num_classes=100,
        mean=dataset.mean,
        std=dataset.std,
        layer="stage4",
        clean_share=chosen.clean_share,
        decoder_width=chosen.decoder_width,
        reconstruction_weight=chosen.weight,
        reconstruction_loss=chosen.loss,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that alignment cancels in this network is known and not the question
        mixer.prepare(test_x)
    shape = tuple(mixer.encode(test_x[:1]).shape[1:])
    count = sum(parameter.numel() for parameter in mixer.parameters())
    print(f"map {shape}, {math.prod(shape)} values for {test_x[0].numel()}; decoder: {count} parameters")
    print(references(mixer.pixels(test_x)), flush=True)
    optimizer = torch.optim.AdamW(
        [{"params": model.parameters(), "lr": chosen.lr}, {"params": mixer.parameters(), "lr": chosen.decoder_lr}]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, chosen.steps)
    begin, step, epoch, ratio = time.perf_counter(), 0, 0, 0.0
    while step < chosen.steps:
        train.set_epoch(epoch)
        epoch += 1
        for x, y in train:
            with mixer(x, y) as batch:
                batch.loss(model(batch.x)).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            if step % max(1, chosen.steps // 5) == 0:
                ratio, error = measure(model, mixer, test_x, test_y)
                seconds = time.perf_counter() - begin
                print(f"step {step:6d}  {seconds:6.0f} s  {ratio:6.2f} dB  error {error:.1f} %", flush=True)
            if step == chosen.steps:
                break
    sys.exit(ratio < chosen.at_least)


if __name__ == "__main__":
    main()
