"""The `objstore` command: finds its subcommands and turns errors into one clear line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from objstore.errors import StoreError
from objstore.tools.commands import LazyGroup

USAGE_ERROR: Final = 2

# Each command lives in its own file and is imported only when it is called.
COMMANDS: Final = {
    "account": "objstore.tools.serve:account",
    "account-daemons": "objstore.tools.serve:account_daemons",
    "bench": "objstore.bench.command:bench",
    "certificate": "objstore.tools.certificates:certificate",
    "check-config": "objstore.tools.check_config:check_config",
    "cloud": "objstore.tools.cloud.command:cloud",
    "cluster": "objstore.tools.cluster:cluster",
    "compute-host": "objstore.compute.host.command:compute_host",
    "container": "objstore.tools.serve:container",
    "container-daemons": "objstore.tools.serve:container_daemons",
    "dispersion": "objstore.tools.dispersion:dispersion",
    "drive-audit": "objstore.tools.driveaudit.command:drive_audit",
    "hash-password": "objstore.tools.hash_password:hash_password",
    "explain": "objstore.tools.explain:explain",
    "image": "objstore.tools.image:image",
    "head": "objstore.tools.head:head",
    "identity": "objstore.tools.identity:identity",
    "identity-rotate": "objstore.tools.identity:identity_rotate",
    "locate": "objstore.tools.locate:locate",
    "object": "objstore.tools.serve:object_",
    "object-daemons": "objstore.tools.serve:object_daemons",
    "proxy": "objstore.tools.serve:proxy",
    "quota": "objstore.tools.quota:quota",
    "recon": "objstore.tools.recon.command:recon",
    "relinker": "objstore.tools.relinker:relinker",
    "ring": "objstore.tools.ring.command:ring",
    "services": "objstore.tools.service_manager:services",
    "up": "objstore.tools.up:up",
    "key": "objstore.tools.key:key",
    "user": "objstore.tools.user:user",
    "compute-api": "objstore.tools.compute:compute_api",
    "usage": "objstore.tools.compute:usage",
    "policy": "objstore.tools.policy:policy",
}


@click.group(
    cls=LazyGroup,
    where=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="objstore", prog_name="objstore")
def objstore() -> None:
    """A distributed object store that speaks the Swift API."""


def main(arguments: Sequence[str] | None = None) -> None:
    run(objstore, "objstore", arguments)


def run(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with what it returns, 0 if that is no number.

    What the user can put right is one line on stderr and exit status 2.
    """
    try:
        status = command.main(arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(USAGE_ERROR)
    except click.ClickException as error:
        _fail(name, error.format_message())
    except click.Abort:
        sys.exit(130)
    except StoreError as error:
        _fail(name, str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _fail(name, f"{error.filename}: {error.strerror}")
    sys.exit(status if isinstance(status, int) else 0)


def _fail(name: str, reason: str) -> NoReturn:
    click.echo(f"{name}: {' '.join(reason.split())}", err=True)
    sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main()
