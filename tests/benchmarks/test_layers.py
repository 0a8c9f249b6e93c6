"""Hidden mixing on other people's networks: everything passes through the layers that are found, or a reason is given.

The default run takes 25 light ones, and small ones of series and volumes; `make test-models` takes one of each module
of timm, and the classifiers of torchvision, transformers and MONAI.
"""

from functools import partial

import pytest
import timm
import torchvision

from alignmixup.benchmarks.layers import LIBRARIES, Network, generic_networks, try_network

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own

LIGHT = {
    "timm": (
        "test_vit", "test_vit2", "test_vit3", "test_vit4", "test_resnet", "test_byobnet", "test_convnext",
        "test_convnext2", "test_convnext3", "test_efficientnet", "test_efficientnet_evos", "test_efficientnet_gn",
        "test_efficientnet_ln", "test_nfnet", "mobilenetv3_small_050", "resnet10t", "regnetx_002", "ghostnet_050",
        "mobileone_s0",
    ),
    "torchvision": ("resnet18", "squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x0_5", "mnasnet0_5", "googlenet"),
}  # fmt: skip


def light():
    for name in LIGHT["timm"]:
        size = timm.get_pretrained_cfg(name).input_size[-1]
        build = partial(timm.create_model, name, num_classes=10)
        yield Network("timm", name, name, build, ((4, 3, min(size, 96), min(size, 96)), (4, 3, size, size)))
    for name in LIGHT["torchvision"]:
        options = {"init_weights": False} if name == "googlenet" else {}
        build = partial(torchvision.models.get_model, name, num_classes=10, **options)
        yield Network("torchvision", name, name, build, ((4, 3, 64, 64),))
    yield from generic_networks()


@pytest.mark.parametrize("network", list(light()), ids=lambda network: network.name)
def test_light_networks_carry_everything(network):
    for row in try_network(network):
        assert row.refusal == ""
        assert row.share == pytest.approx(1, abs=1e-3)


@pytest.mark.models
@pytest.mark.timeout(36000)
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_family_carries_everything_or_says_why(library):
    rows = [row for network in LIBRARIES[library]() for row in try_network(network)]
    assert all(row.share == pytest.approx(1, abs=1e-3) for row in rows if row.share is not None)
    assert all(row.refusal for row in rows if row.share is None)
    assert sum(row.share is not None for row in rows) >= 0.95 * len(rows)
