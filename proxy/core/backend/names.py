"""What the system metadata of objects is called that the core itself reads and writes."""

from __future__ import annotations

from typing import Final

from objstore.headers import Client, Sysmeta

SYSTEM: Final = Sysmeta.OBJECT_PREFIX
# A manifest is known by this header; in its system metadata are the size and the ETag of what it makes.
MANIFEST: Final = Client.STATIC_LARGE_OBJECT
DYNAMIC_MANIFEST: Final = Client.OBJECT_MANIFEST
COMPOSITE_SIZE: Final = Sysmeta.COMPOSITE_SIZE.removeprefix(SYSTEM)
COMPOSITE_ETAG: Final = Sysmeta.COMPOSITE_ETAG.removeprefix(SYSTEM)
CHECKSUM_PREFIX: Final = Sysmeta.CHECKSUM_PREFIX.removeprefix(SYSTEM)
LISTED_ETAG: Final = Sysmeta.LISTED_ETAG.removeprefix(SYSTEM)
STORAGE_CLASS: Final = Sysmeta.STORAGE_CLASS.removeprefix(SYSTEM)
UPLOAD: Final = Sysmeta.UPLOAD.removeprefix(SYSTEM)
# In that of a link: where it leads, and if it is static, to what.
LINK_TARGET: Final = Sysmeta.LINK_TARGET.removeprefix(SYSTEM)
LINK_ETAG: Final = Sysmeta.LINK_ETAG.removeprefix(SYSTEM)
LINK_SIZE: Final = Sysmeta.LINK_SIZE.removeprefix(SYSTEM)
# In that of an encrypted object.
SEALED: Final = Sysmeta.SEALED.removeprefix(SYSTEM)
SEALED_FACTS: Final = Sysmeta.SEALED_FACTS.removeprefix(SYSTEM)
SEALED_METADATA: Final = Sysmeta.SEALED_METADATA.removeprefix(Sysmeta.OBJECT_TRANSIENT_PREFIX)
LISTED_SIZE: Final = Sysmeta.LISTED_SIZE.removeprefix(SYSTEM)
