"""What a test can compare, the documentation cannot get wrong."""

import re
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec
import pytest

from objstore.config.account import AccountConfig
from objstore.config.cell import ComputeApiConfig
from objstore.config.cluster import ClusterConfig
from objstore.config.compute_host import ComputeHostConfig
from objstore.config.container import ContainerConfig
from objstore.config.drive_audit import DriveAuditConfig
from objstore.config.identity import IdentityConfig
from objstore.config.image import ImageConfig
from objstore.config.loading import load, loads
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.config.users import UsersConfig
from objstore.proxy.swift.errors import ANSWERS
from objstore.proxy.swift.features.unsupported import MISSING_FEATURES
from tests.tidy.repository import ROOT, sources

FILES: Final[dict[str, type[msgspec.Struct]]] = {
    "compute-host.toml": ComputeHostConfig,
    "objstore.toml": ClusterConfig,
    "compute-api.toml": ComputeApiConfig,
    "proxy.toml": ProxyConfig,
    "object.toml": ObjectConfig,
    "container.toml": ContainerConfig,
    "account.toml": AccountConfig,
    "drive-audit.toml": DriveAuditConfig,
    "users.toml": UsersConfig,
    "identity.toml": IdentityConfig,
    "image.toml": ImageConfig,
}
STORAGE: Final = ("object.toml", "container.toml", "account.toml")
# Chapters of the documentation that hold for several files.
SHARED: Final = {"All services": ("proxy.toml", *STORAGE), "Storage servers": STORAGE}
REQUIRED: Final = "required"
NO_DEFAULT: Final = "none"
DOCUMENTS: Final = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
# What a reader is led to by links from the index, in one step or several.
INDEX: Final = ROOT / "docs/index.md"


def documented() -> dict[str, dict[str, str]]:
    """For each file: option (as "table.key") -> default as written."""
    found: dict[str, dict[str, str]] = {file: {} for file in FILES}
    chapter, table = "", ""
    for line in (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            chapter, table = line[3:], ""
        elif heading := re.fullmatch(r"### (\[\[?)(\w+)\]\]?", line):
            table = f"{heading[2]}."
        elif row := re.match(r"\| `(\w+)` \| (?:`([^`]*)`|(\w+)) \| \S", line):
            for file in SHARED.get(chapter, (chapter,)):
                option = f"{table}{row[1]}"
                assert option not in found[file], f"{option} of {file} stands there twice"
                # A bar ends a cell of a table unless it is escaped.
                found[file][option] = row[3] if row[2] is None else row[2].replace(r"\|", "|")
    return found


def options(kind: type[msgspec.Struct], table: str = "") -> dict[str, Any]:
    """Every option of a configuration (as "table.key") -> its default, REQUIRED if it has none."""
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and not hasattr(inner, "parse"):
            found |= options(inner, f"{table}{field.name}.")
        elif field.required:
            found[table + field.name] = REQUIRED
        elif field.default_factory is not msgspec.NODEFAULT:
            found[table + field.name] = field.default_factory()
        else:
            found[table + field.name] = field.default
    return found


@pytest.mark.parametrize("file", FILES)
def test_every_option_is_documented_and_no_other(file: str) -> None:
    assert set(documented()[file]) == set(options(FILES[file]))


def read_alone(file: str, option: str, text: str) -> Any:
    """What the program makes of one option when it is given with its documented default."""
    table, _, key = option.rpartition(".")
    heading = f"[{table}]\n" if table else ""
    # A cluster needs one of its two secrets: the one that is not looked at.
    other = "SUFFIX" if option == "hash.prefix" else "PREFIX"
    value: Any = loads(f"{heading}{key} = {text}", FILES[file], environ={f"OBJSTORE_HASH_{other}": "x"})
    for part in option.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("file", ["objstore.toml", "proxy.toml", "drive-audit.toml", "identity.toml", *STORAGE])
def test_documented_defaults_are_the_real_ones(file: str) -> None:
    actual = options(FILES[file])
    for option, text in documented()[file].items():
        if option.startswith(("policies.", "delay_reaping.", "webhooks.", "catalog.")):
            continue  # one of several tables is not read alone: see the defaults in its own unit tests
        if text in (REQUIRED, NO_DEFAULT):
            assert actual[option] == {REQUIRED: REQUIRED, NO_DEFAULT: None}[text], option
        else:
            assert read_alone(file, option, text) == actual[option], option


@pytest.mark.parametrize("file", FILES)
def test_every_option_has_a_user(file: str) -> None:
    """An option that no code looks at would only seem to do something."""
    texts = [
        path.read_text(encoding="utf-8") for path in sources() if "objstore/config/" not in str(path.relative_to(ROOT))
    ]
    used = {name for text in texts for name in re.findall(r"\.(\w+)", text)}
    assert {option for option in options(FILES[file]) if option.rpartition(".")[2] not in used} == set()


@pytest.mark.parametrize("file", FILES)
def test_sample_is_read(file: str) -> None:
    assert isinstance(load(ROOT / "etc" / file, FILES[file], environ={}), FILES[file])


def test_every_sample_has_a_type() -> None:
    assert {path.name for path in (ROOT / "etc").glob("*.toml")} == set(FILES)


def test_samples_show_every_table() -> None:
    for file, kind in FILES.items():
        text = (ROOT / "etc" / file).read_text(encoding="utf-8")
        for table in {option.partition(".")[0] for option in options(kind) if "." in option}:
            assert re.search(rf"^\[\[?{table}\]", text, re.MULTILINE), f"{file} does not show [{table}]"


def named_files(text: str) -> dict[str, set[str]]:
    """What a text names in backticks: files with a folder and an ending -> names in them, given after a colon."""
    found: dict[str, set[str]] = {}
    for path, name in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|toml|json|sh|svg))(?::(\w+))?`", text):
        found.setdefault(path, set()).update({name} - {""})
    return found


def test_named_files_are_found() -> None:
    text = "`object/server.py` and `ring/ring.py:Ring`, `object/server.py:VERBS`, not `server.py` or `a/b`"
    assert named_files(text) == {"object/server.py": {"VERBS"}, "ring/ring.py": {"Ring"}}


def defined(path: Path) -> set[str]:
    """The functions, classes and constants of a module."""
    return set(
        re.findall(r"^(?:(?:async )?def |class )?(\w+)\b(?=\(|:| =)", path.read_text(encoding="utf-8"), re.MULTILINE)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_only_what_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    names = named_files(text)
    assert [path for path in names if not (ROOT / path).exists()] == []
    assert {path: wrong for path, given in names.items() if given and (wrong := given - defined(ROOT / path))} == {}
    targets = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not target.startswith("http")]
    assert [target for target in targets if not (document.parent / target).exists()] == []


def anchors(text: str) -> set[str]:
    """The names by which links may refer to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> list[tuple[Path, str]]:
    """The files in the repository that a page links to, each with the heading named after a hash or nothing."""
    text = document.read_text(encoding="utf-8")
    found = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text)
    return [((document.parent / target).resolve() if target else document, heading) for target, heading in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_headings_that_exist(document: Path) -> None:
    wrong = [
        f"{target.name}#{heading}"
        for target, heading in links(document)
        if heading and heading not in anchors(target.read_text(encoding="utf-8"))
    ]
    assert wrong == []


def test_the_index_leads_to_every_page() -> None:
    reached, waiting = {INDEX}, [INDEX]
    while waiting:
        targets = {target for target, _ in links(waiting.pop()) if target.suffix == ".md"} - reached
        reached |= targets
        waiting += targets
    decisions = {path for path in DOCUMENTS if path.parent.name == "decisions"}  # the index links to their folder
    assert set(DOCUMENTS) - reached - decisions - {ROOT / "README.md"} == set()


def test_every_status_that_clients_get_is_documented() -> None:
    table = (ROOT / "docs/reference/statuses.md").read_text(encoding="utf-8").partition("## Between servers")[0]
    documented_statuses = {
        int(number) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for number in row.split(",")
    }
    refusals = "".join(
        path.read_text(encoding="utf-8")
        for path in sources("proxy", "objstore")
        if path.is_relative_to(ROOT / "proxy/swift") or path.is_relative_to(ROOT / "objstore/http")
    )
    answered = {int(number) for number in re.findall(r"\b(?:HttpError|Response|_told|_facts)\((\d{3})\b", refusals)}
    answered |= {answer for answer in ANSWERS.values() if isinstance(answer, int)}
    assert len(answered) > 20
    assert answered - documented_statuses == set()


def test_every_refusal_of_a_missing_feature_is_documented() -> None:
    text = (ROOT / "docs/use/limits.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`\??([\w-]+)`", text))
    assert {name for feature in MISSING_FEATURES for name in feature.headers} - named == set()


def test_alerts_are_on_metrics_that_exist() -> None:
    names = set(re.findall(r"`(\w+)`", (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")))
    text = (ROOT / "docs/operate/monitoring.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\b(\w+_(?:total|seconds))(?:_bucket)?\{", text))
    assert len(used) > 5
    assert used - names == set()


def test_the_architecture_walks_through_functions() -> None:
    assert sum(map(len, named_files((ROOT / "docs/develop/architecture.md").read_text(encoding="utf-8")).values())) > 20


def test_each_decision_has_a_number_of_its_own() -> None:
    numbers = [path.name[:5] for path in (ROOT / "docs/decisions").glob("*.md")]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d{4}-", number) for number in numbers)


def makefile_targets(text: str) -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)


def test_make_help_lists_the_main_targets() -> None:
    text = Path(ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"help", "up", "test", "check", "bench", "cluster"} <= set(makefile_targets(text))
