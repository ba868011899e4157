"""objstore image: the image service."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from objstore.tools.serve import config_option


@click.command()
@config_option
def image(path: Path) -> None:
    """Run the image service: disk images, kept in a store."""
    from objstore.cloud.serving import stop_on_signals
    from objstore.config.image import ImageConfig
    from objstore.config.loading import load
    from objstore.image.service import run
    from objstore.logs import SINK

    config = load(path, ImageConfig)
    SINK.configure(config.log.level, config.log.max_line_length)
    stop = threading.Event()
    stop_on_signals(stop)
    run(config, stop)
