"""The list of keys in the help."""

from dataclasses import fields

from alignmixup.cli.config_options import list_keys
from alignmixup.training.config import TABLES


def test_every_key_stands_with_its_default_and_its_help() -> None:
    text = list_keys()
    words = " ".join(text.split())
    for name, cls in TABLES.items():
        assert f"[{name}]" in text
        for item in fields(cls):
            if item.name != "options":
                assert f"{name}.{item.name}=" in text
                assert item.metadata["help"] in words
    assert "optimizer.lr=0.05 " in text
    assert "optimizer.nesterov=false " in text
    assert "schedule.milestones=[] " in text
    assert "`alignmixup methods NAME` lists them" in words
