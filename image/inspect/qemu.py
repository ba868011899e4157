"""qcow2 and QED, QEMU's own formats (docs/interop/qcow2.rst of QEMU)."""

from __future__ import annotations

from typing import Final

from objstore.image.inspect.view import ImageView, UnsafeImage

DATA_FILE_BIT: Final = 1 << 2
KNOWN_FEATURES: Final = 0b1111  # dirty, corrupt, external data file, compression type


def is_qcow2(view: ImageView) -> bool:
    return view.has(0, b"QFI\xfb")


def check_qcow2(view: ImageView) -> int:
    """The virtual size in bytes. Raises UnsafeImage."""
    version = view.number(4, 4)
    if version not in (2, 3):
        raise UnsafeImage(f"qcow2 of version {version}; known are 2 and 3")
    if view.number(8, 8):
        raise UnsafeImage("the qcow2 names a backing file")
    features = view.number(72, 8) if version == 3 else 0
    if features & DATA_FILE_BIT:
        raise UnsafeImage("the qcow2 keeps its data in another file")
    if features & ~KNOWN_FEATURES:
        raise UnsafeImage(f"the qcow2 needs features that are not known: {features & ~KNOWN_FEATURES:#x}")
    return view.number(24, 8)


def is_qed(view: ImageView) -> bool:
    return view.has(0, b"QED\x00")


def check_qed(view: ImageView) -> int:
    """Raises UnsafeImage: QED is not accepted."""
    raise UnsafeImage("QED images are not accepted")
