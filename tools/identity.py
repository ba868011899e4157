"""objstore identity: the identity service, and the rotation of its keys."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from objstore.tools.serve import config_option


@click.command()
@config_option
def identity(path: Path) -> None:
    """Run the identity service: users, projects, tokens and the catalog."""
    from objstore.cloud.serving import serve, stop_on_signals
    from objstore.config.identity import IdentityConfig
    from objstore.config.loading import load
    from objstore.identity.service import make_application, make_state, prepare
    from objstore.logs import SINK, get_logger

    config = load(path, IdentityConfig)
    SINK.configure(config.log.level, config.log.max_line_length)
    log = get_logger("identity")
    stop = threading.Event()
    stop_on_signals(stop)
    state = make_state(config)
    if prepare(state, config):
        log.info("the administrator was made", user=config.first_start.user)
    try:
        serve(make_application(state), config.server, log, stop)
    finally:
        state.database.close()


@click.command("identity-rotate")
@config_option
def identity_rotate(path: Path) -> None:
    """Add a key that encrypts tokens, and one that encrypts credentials, and remove those of which no token is left.

    A new key is used after the next rotation, so that all processes know it by then.
    """
    from objstore.config.identity import IdentityConfig
    from objstore.config.loading import load
    from objstore.identity.revocations import EXPIRED_WINDOW_SECONDS
    from objstore.identity.service import key_folders

    config = load(path, IdentityConfig)
    tokens, credentials = key_folders(config)
    tokens.prepare()
    credentials.prepare()
    left = tokens.rotate(config.tokens.life + EXPIRED_WINDOW_SECONDS)
    click.echo(f"{left} keys of tokens, {credentials.rotate(None)} of credentials")
