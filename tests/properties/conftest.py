"""Properties run in full, however busy the machine is."""

from hypothesis import settings

settings.register_profile("objstore", deadline=None)
settings.load_profile("objstore")
