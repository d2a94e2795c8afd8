"""``mns-listener completion``: the script by which a shell completes commands, options and names."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")
PROGRAM: Final = "mns-listener"
#: By which the script asks the program; click derives this name from that of the program.
VARIABLE: Final = "_MNS_LISTENER_COMPLETE"

EPILOG = """\b
Examples:
  source <(mns-listener completion bash)
  mns-listener completion bash > /etc/bash_completion.d/mns-listener
  mns-listener completion fish > ~/.config/fish/completions/mns-listener.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the script that completes commands in a shell.

    It completes commands, options, jobs of the store, routes and queues of the settings, functions and kinds of jobs.
    """
    completing = get_completion_class(shell)
    assert completing is not None
    script = completing(ctx.find_root().command, {}, PROGRAM, VARIABLE)
    # Its method source() first starts a bash to ask for its version.
    click.echo(script.source_template % script.source_vars())
