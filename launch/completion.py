"""Shell completion for commands and their options, read from the commands' sources."""

from __future__ import annotations

import ast
import re

from .cli import command_file, command_names


def options(name: str) -> list[str]:
    """Option flags of a command, the fields of its dataclasses that are no positional; and its subcommands."""
    tree = ast.parse(command_file(name).read_text())
    found = ["--help"]
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if not (isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)):
                    continue
                kind = ast.unparse(part.annotation)
                found += re.findall(r"tyro\.conf\.subcommand\('(\w+)'\)", kind)
                if part.value and "Positional" not in kind:
                    found.append("--" + part.target.id.replace("_", "-"))
    return sorted(set(found))


def script(shell: str) -> str:
    """Completion script for "bash" or "zsh"; `eval "$(twinloop --print-completion bash)"` in the shell."""
    cases = "\n".join(f'        {name}) words="{" ".join(options(name))}" ;;' for name in command_names())
    body = f"""_twinloop() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" words="{" ".join(command_names())} --help --version"
    if [ "$COMP_CWORD" -gt 1 ]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    case "$current" in -*) ;; *) COMPREPLY+=($(compgen -f -- "$current")) ;; esac
}}
complete -o filenames -F _twinloop twinloop"""
    if shell == "zsh":
        return "autoload -U +X bashcompinit && bashcompinit\n" + body
    return body
