"""What the names of ring files say."""

import pytest

from objstore.tools.commands import OperatorProblem
from objstore.tools.placing import folder_of_ring


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("account.ring.gz", "accounts"),
        ("/etc/objstore/container.ring.gz", "containers"),
        ("object.ring.gz.previous", "objects"),
        ("backups/1795253770.647962.object-12.ring.gz", "objects-12"),
    ],
)
def test_a_ring_file_is_about_a_folder(file: str, folder: str) -> None:
    assert folder_of_ring(file) == folder


@pytest.mark.parametrize("file", ["mine.ring.gz", "myobject.ring.gz", "object-x.ring.gz", "object.builder"])
def test_other_names_do_not_say(file: str) -> None:
    with pytest.raises(OperatorProblem, match="does not say what it places"):
        folder_of_ring(file)
