"""Options of a question as the command line makes them."""

import argparse

import pytest

from alignmixup.benchmarks.options import QUESTIONS


@pytest.fixture
def options_of():
    """Function that parses the arguments of a question and adds the common options."""

    def parse(question: str, *arguments: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        QUESTIONS[question](parser)
        options = parser.parse_args(arguments)
        options.device, options.repeats, options.threads = "cpu", 1, 0
        return options

    return parse
