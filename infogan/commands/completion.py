"""Completion of verbs, options and configs in bash, from what each verb's `--help` says."""

import contextlib
import io
import re
from collections.abc import Callable, Sequence

from infogan.commands.parser import OptionParser, explained
from infogan.files import shipped
from infogan.version import program

OPTION = re.compile(r"^ +(?:-\w, |-\w \w+, )?(--[\w.]+)", re.MULTILINE)

SCRIPT = """\
# bash completion of infogan; zsh: autoload bashcompinit && bashcompinit first
_infogan() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words=
    if ((COMP_CWORD == 1)); then
        words="{verbs} --help"
    elif [[ $before == --config || $before == -c ]]; then
        words="{configs}"
    elif [[ $word == -* ]]; then
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _infogan infogan"""


def print_completion(
    argv: Sequence[str], main: Callable[[list[str]], int], verbs: Sequence[str]
) -> None:
    """Print a bash script that completes the console command `infogan`.

    Args:
        argv: The verb and its options, of which there are none.
        main: Runs a verb.
        verbs: All verbs.
    """
    parser = OptionParser(
        prog=f"{program()} completion",
        exit_on_error=False,
        description="Print a script that completes verbs, options and shipped configs of the "
        "command infogan in bash. For this shell: source <(infogan completion)",
    )
    with explained(parser):
        parser.parse_args(argv[1:])
    others = [verb for verb in verbs if verb != argv[0]]
    cases = [f'            {verb}) words="{" ".join(options(main, verb))}" ;;' for verb in others]
    configs = " ".join(sorted(path.name for path in shipped("configs").glob("*.yaml")))
    print(SCRIPT.format(verbs=" ".join(verbs), configs=configs, cases="\n".join(cases)))


def options(main: Callable[[list[str]], int], verb: str) -> list[str]:
    """Return a verb's options."""
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        main([verb, "--help"])
    return list(dict.fromkeys(OPTION.findall(text.getvalue())))
