"""Print a script that completes commands and options in a shell.

Print a script with which bash, zsh or fish completes commands, options and their values. For bash or zsh add
`source <(alignmixup completion SHELL)` to ~/.bashrc or ~/.zshrc (behind compinit); for fish
`alignmixup completion fish | source` to config.fish.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from alignmixup.cli.parser import commands_of, options_of_parser
from alignmixup.terminal import say
from alignmixup.training.bundled import bundled_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(_SCRIPTS), metavar="SHELL", help="bash, zsh or fish")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from alignmixup.cli import build_parser

    say(_SCRIPTS[options.shell](commands_of(build_parser())), end="")
    return 0


def _words(parser: argparse.ArgumentParser) -> str:
    return " ".join(text for action in options_of_parser(parser) for text in action.option_strings)


def _values(action: argparse.Action) -> list[str]:
    """What an argument may be, where that is a list of names."""
    if action.dest == "config":
        return bundled_names()
    return [str(choice) for choice in action.choices or ()]


def _bash(commands: Mapping[str, argparse.ArgumentParser]) -> str:
    options, values = [], []
    for name, parser in commands.items():
        options.append(f'    {name}) words="{_words(parser)}" ;;')
        for action in parser._actions:
            if listed := " ".join(_values(action)):
                before = "|".join(f'"{name} {text}"' for text in action.option_strings) or f'"{name} {name}"'
                values.append(f'    {before}) values="{listed}" ;;')
    return f"""\
_alignmixup() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  local command=${{COMP_WORDS[1]}} words= values=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(commands)} --help --version" -- "$current"))
    return
  fi
  case "$command" in
{chr(10).join(options)}
  esac
  case "$command $before" in
{chr(10).join(values)}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$values" -- "$current")) ;;
  esac
}}
complete -o default -F _alignmixup alignmixup
"""


def _zsh(commands: Mapping[str, argparse.ArgumentParser]) -> str:
    return "autoload -U +X bashcompinit && bashcompinit\n" + _bash(commands)


def _fish(commands: Mapping[str, argparse.ArgumentParser]) -> str:
    lines = [f"complete -c alignmixup -n __fish_use_subcommand -f -a '{' '.join(commands)}'"]
    for name, parser in commands.items():
        condition = f"complete -c alignmixup -n '__fish_seen_subcommand_from {name}'"
        for action in parser._actions:
            listed = f" -x -a '{' '.join(_values(action))}'" if _values(action) else ""
            needs = "" if action.nargs == 0 or listed else " -r"
            if not action.option_strings:
                lines += [f"{condition}{listed.replace(' -x', ' -f')}"] if listed else []
            for text in action.option_strings:
                flag = f"-l {text[2:]}" if text.startswith("--") else f"-s {text[1:]}"
                lines.append(f"{condition} {flag}{needs}{listed}")
    return "\n".join(lines) + "\n"


_SCRIPTS: dict[str, Callable[[Mapping[str, argparse.ArgumentParser]], str]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
