"""Speed and memory, one question a file: rivals take turns in one run, on the machine at hand.

A question is a module with ``run(options) -> Report``, and a function of its name in `options`. Nothing is imported.
"""
