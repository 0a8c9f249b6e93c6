"""Settings of a style autoencoder's training."""

import pytest

from alignmixup.training.style.config import StyleConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "style.epochs must be >= 1, got 0"),
        ({"stages": 5}, "style.stages must be in \\[1, 4\\], got 5"),
        ({"lr": 0.0}, "style.lr must be > 0, got 0"),
        ({"style_weight": -1.0}, "style.style_weight must be >= 0, got -1"),
        ({"encoder": "vgg16"}, "style.encoder must be 'residual' or 'vgg19', got 'vgg16'"),
    ],
)
def test_values_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StyleConfig(**values)  # type: ignore[arg-type]
