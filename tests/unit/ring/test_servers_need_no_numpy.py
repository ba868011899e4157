import subprocess
import sys

SERVER_SIDE = "ring, format, formatv2, header, errors, rings"


def test_reading_rings_does_not_import_numpy() -> None:
    program = f"from objstore.ring import {SERVER_SIDE}; import sys; print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
