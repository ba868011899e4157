"""Metadata definitions: which properties clients offer their users. The service itself does not look at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import webob
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from objstore.cloud.callers import CloudCaller
from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.image.access import NotAllowed, check_admin
from objstore.image.api.documents import Document, shown_time
from objstore.image.api.faults import refusing
from objstore.image.model.attributes import BadValue, LimitExceeded
from objstore.image.model.schemas import DEFINITION_NAME_MAX, DEFINITION_SCHEMAS
from objstore.image.records import MetadataDefinition
from objstore.image.transfers import Transfers

T = TypeVar("T")

NAMESPACE: Final = "namespace"
OBJECT, PROPERTY, TAG, RESOURCE_TYPE = "object", "property", "tag", "resource_type"
# What the parts of a namespace are called in paths, and what lists of them are called.
PATHS: Final = {OBJECT: "objects", PROPERTY: "properties", TAG: "tags", RESOURCE_TYPE: "resource_types"}
LISTS: Final = {**PATHS, RESOURCE_TYPE: "resource_type_associations"}
RESOURCE_TYPES: Final = (
    *("OS::Glance::Image", "OS::Cinder::Volume", "OS::Nova::Flavor", "OS::Nova::Aggregate", "OS::Nova::Server"),
    *("OS::Nova::Instance", "OS::Trove::Instance"),
)
PARTS_MAX: Final = 1000
NAMESPACES_MAX: Final = 1000
BASE: Final = "/v2/metadefs/namespaces"
UNSTORED: Final = frozenset({"created_at", "updated_at", "self", "schema"})
TYPES: Final[dict[str, type]] = {"string": str, "boolean": bool, "array": list, "object": dict, "integer": int}


@dataclass
class DefinitionsApi:
    """Handlers of /v2/metadefs. Administrators write; all read what is public, or their project's."""

    transfers: Transfers

    def routes(self) -> list[WebRoute]:
        one = BASE + "/{namespace}"
        made = [
            WebRoute("GET", "/v2/metadefs/resource_types", refusing(_resource_types)),
            WebRoute("GET", BASE, refusing(self.namespaces)),
            WebRoute("POST", BASE, refusing(self.create_namespace)),
            WebRoute("GET", one, refusing(self.show_namespace)),
            WebRoute("PUT", one, refusing(self.change_namespace)),
            WebRoute("DELETE", one, refusing(self.delete_namespace)),
            WebRoute("POST", one + "/tags/{name}", refusing(self.create_tag)),
        ]
        for kind, word in PATHS.items():
            part = f"{one}/{word}/{{name}}"
            made += [
                WebRoute("GET", f"{one}/{word}", refusing(_of(kind, self.parts))),
                WebRoute("POST", f"{one}/{word}", refusing(_of(kind, self.create_parts))),
                WebRoute("DELETE", f"{one}/{word}", refusing(_of(kind, self.delete_parts))),
                WebRoute("GET", part, refusing(_of(kind, self.part))),
                WebRoute("PUT", part, refusing(_of(kind, self.change_part))),
                WebRoute("DELETE", part, refusing(_of(kind, self.delete_parts))),
            ]
        return made

    def _written(self, call: Call, work: Callable[[Session], T]) -> T:
        check_admin(call.caller)
        return self.transfers.database.run(work)

    def namespaces(self, call: Call) -> webob.Response:
        statement = select(MetadataDefinition).where(MetadataDefinition.kind == NAMESPACE)
        if not call.caller.is_admin:
            own = MetadataDefinition.owner == call.caller.project_id
            statement = statement.where(or_(MetadataDefinition.visibility == "public", own))
        if visibility := call.request.GET.get("visibility"):
            statement = statement.where(MetadataDefinition.visibility == visibility)
        with self.transfers.database.reading() as session:
            rows = session.scalars(statement.order_by(MetadataDefinition.namespace).limit(NAMESPACES_MAX))
            shown = [_namespace_document(row) for row in rows]
        return json_answer(200, {"namespaces": shown, "first": BASE, "schema": "/v2/schemas/metadefs/namespaces"})

    def create_namespace(self, call: Call) -> webob.Response:
        document = _checked(call.json(), NAMESPACE)
        name = _name(document.get("namespace"))
        parts = {kind: document.pop(word, {}) for kind, word in LISTS.items()}

        def add(session: Session) -> Document:
            if session.get(MetadataDefinition, (name, NAMESPACE, "")) is not None:
                raise Fault(409, f"There is a namespace {name} already.")
            count = select(func.count()).select_from(MetadataDefinition).where(MetadataDefinition.kind == NAMESPACE)
            if (session.scalar(count) or 0) >= NAMESPACES_MAX:
                raise LimitExceeded("namespaces", NAMESPACES_MAX)
            row = self._row(name, NAMESPACE, "", document)
            row.owner = document.get("owner") or call.caller.project_id
            row.visibility = document.get("visibility", "private")
            session.add(row)
            for kind, given in parts.items():
                named = [{**value, "name": each} for each, value in given.items()] if kind == PROPERTY else given
                for part in named:
                    session.add(self._row(name, kind, _name(part.get("name")), _checked(part, kind)))
            session.flush()
            return _whole(session, row)

        shown = self._written(call, add)
        return json_answer(201, shown, {"Location": f"{call.request.application_url}{shown['self']}"})

    def _row(self, namespace: str, kind: str, name: str, document: Document) -> MetadataDefinition:
        now = self.transfers.now()
        kept = msgspec.json.encode({key: value for key, value in document.items() if key not in UNSTORED}).decode()
        return MetadataDefinition(
            namespace=namespace,
            kind=kind,
            name=name,
            visibility="",
            document=kept,
            created_at=now,
            updated_at=now,
        )

    def show_namespace(self, call: Call) -> webob.Response:
        with self.transfers.database.reading() as session:
            return json_answer(200, _whole(session, _namespace(session, call)))

    def change_namespace(self, call: Call) -> webob.Response:
        document = _checked(call.json(), NAMESPACE)
        new_name = _name(document.get("namespace"))

        def change(session: Session) -> Document:
            row = _namespace(session, call)
            if new_name != row.namespace:
                if session.get(MetadataDefinition, (new_name, NAMESPACE, "")) is not None:
                    raise Fault(409, f"There is a namespace {new_name} already.")
                for part in _parts(session, row.namespace):
                    part.namespace = new_name
            changed = self._row(new_name, NAMESPACE, "", document)
            row.namespace, row.document, row.updated_at = new_name, changed.document, changed.updated_at
            row.owner = document.get("owner") or row.owner
            row.visibility = document.get("visibility", "private")
            session.flush()
            return _namespace_document(row)

        return json_answer(200, self._written(call, change))

    def delete_namespace(self, call: Call) -> webob.Response:
        def delete(session: Session) -> None:
            row = _namespace(session, call)
            _check_unprotected(row)
            for part in [*_parts(session, row.namespace), row]:
                session.delete(part)

        self._written(call, delete)
        return empty_answer()

    def parts(self, call: Call, kind: str) -> webob.Response:
        with self.transfers.database.reading() as session:
            row = _namespace(session, call)
            shown: Any = [_part_document(part) for part in _parts(session, row.namespace, kind)]
        if kind == PROPERTY:
            shown = {part.pop("name"): part for part in shown}
        page: Document = {LISTS[kind]: shown}
        if kind in (OBJECT, TAG):
            page |= {"first": call.request.path, "schema": f"/v2/schemas/metadefs/{PATHS[kind]}"}
        return json_answer(200, page)

    def create_parts(self, call: Call, kind: str) -> webob.Response:
        document = call.json()
        if kind == TAG:  # tags come as a whole, and take the place of those there are
            tags = document.get("tags") if isinstance(document, dict) else None
            if not isinstance(tags, list):
                raise BadValue("The tags are missing.")
            made = [_checked(tag, TAG) for tag in tags]
        else:
            made = [_checked(document, kind)]
        shown = self._written(call, lambda session: self._add(session, call, kind, made, replace=kind == TAG))
        return json_answer(201, {"tags": [{"name": each["name"]} for each in shown]} if kind == TAG else shown[0])

    def create_tag(self, call: Call) -> webob.Response:
        made = [{"name": call.arguments["name"]}]
        return json_answer(201, self._written(call, lambda session: self._add(session, call, TAG, made, False))[0])

    def _add(self, session: Session, call: Call, kind: str, made: list[Document], replace: bool) -> list[Document]:
        row = _namespace(session, call)
        existing = _parts(session, row.namespace, kind)
        if replace:
            for part in existing:
                session.delete(part)
            session.flush()
            existing = []
        if len(existing) + len(made) > PARTS_MAX:
            raise LimitExceeded(LISTS[kind], PARTS_MAX)
        added = []
        taken = {part.name for part in existing}
        for document in made:
            name = _name(document.get("name"))
            if name in taken:
                raise Fault(409, f"The namespace has a {kind} {name} already.")
            taken.add(name)
            added.append(self._row(row.namespace, kind, name, document))
        session.add_all(added)
        session.flush()
        return [_part_document(part) for part in added]

    def part(self, call: Call, kind: str) -> webob.Response:
        with self.transfers.database.reading() as session:
            return json_answer(200, _part_document(_part(session, call, kind)))

    def change_part(self, call: Call, kind: str) -> webob.Response:
        document = _checked(call.json(), kind)

        def change(session: Session) -> Document:
            part = _part(session, call, kind)
            name = _name(document.get("name", part.name))
            if name != part.name and session.get(MetadataDefinition, (part.namespace, kind, name)) is not None:
                raise Fault(409, f"The namespace has a {kind} {name} already.")
            changed = self._row(part.namespace, kind, name, document)
            part.name, part.document, part.updated_at = name, changed.document, changed.updated_at
            session.flush()
            return _part_document(part)

        return json_answer(200, self._written(call, change))

    def delete_parts(self, call: Call, kind: str) -> webob.Response:
        """The one that the path names, or all of a kind."""

        def delete(session: Session) -> None:
            row = _namespace(session, call)
            _check_unprotected(row)
            named = "name" in call.arguments
            for part in [_part(session, call, kind)] if named else _parts(session, row.namespace, kind):
                session.delete(part)

        self._written(call, delete)
        return empty_answer()


def _of(kind: str, handler: Callable[[Call, str], webob.Response]) -> Callable[[Call], webob.Response]:
    def answered(call: Call) -> webob.Response:
        return handler(call, kind)

    return answered


def _resource_types(_call: Call) -> webob.Response:
    return json_answer(200, {"resource_types": [{"name": name} for name in RESOURCE_TYPES]})


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= DEFINITION_NAME_MAX:
        raise BadValue(f"A name of 1 to {DEFINITION_NAME_MAX} characters is needed.")
    return value


def _checked(document: object, kind: str) -> Document:
    """Raises BadValue for what is no document of this kind."""
    rules = DEFINITION_SCHEMAS[kind]["properties"]
    if not isinstance(document, dict):
        raise BadValue("Request body must be a JSON object.")
    for name, value in document.items():
        wanted = TYPES.get(rules.get(name, {}).get("type", ""), object)
        if name not in rules or not isinstance(value, wanted):
            raise BadValue(f"Invalid value for '{name:.80}' of a {kind}.")
    if document.get("visibility", "public") not in ("public", "private"):
        raise BadValue("A namespace is public or private.")
    if kind == PROPERTY and not {"title", "type"} <= document.keys():
        raise BadValue("A property needs a title and a type.")
    return document


def _namespace(session: Session, call: Call) -> MetadataDefinition:
    """The namespace that a request names. Raises Fault 404, also for one that the caller may not see."""
    name = call.arguments["namespace"]
    row = session.get(MetadataDefinition, (name, NAMESPACE, ""))
    if row is None or not _may_see(call.caller, row):
        raise Fault(404, f"There is no namespace {name:.80}.")
    return row


def _may_see(caller: CloudCaller, row: MetadataDefinition) -> bool:
    return caller.is_admin or row.visibility == "public" or (row.owner is not None and row.owner == caller.project_id)


def _part(session: Session, call: Call, kind: str) -> MetadataDefinition:
    namespace, name = _namespace(session, call).namespace, call.arguments["name"]
    row = session.get(MetadataDefinition, (namespace, kind, name))
    if row is None:
        raise Fault(404, f"The namespace {namespace} has no {kind} {name:.80}.")
    return row


def _parts(session: Session, namespace: str, kind: str | None = None) -> list[MetadataDefinition]:
    """Those of one kind, or all, in the order in which they were made."""
    wanted = MetadataDefinition.kind == kind if kind else MetadataDefinition.kind != NAMESPACE
    order = MetadataDefinition.created_at, MetadataDefinition.name
    statement = select(MetadataDefinition).where(MetadataDefinition.namespace == namespace, wanted)
    return list(session.scalars(statement.order_by(*order)))


def _check_unprotected(row: MetadataDefinition) -> None:
    if msgspec.json.decode(row.document).get("protected"):
        raise NotAllowed(f"The namespace {row.namespace} is protected.")


def _namespace_document(row: MetadataDefinition) -> Document:
    return {
        "protected": False,
        **msgspec.json.decode(row.document),
        "namespace": row.namespace,
        "visibility": row.visibility,
        "owner": row.owner,
        "created_at": shown_time(row.created_at),
        "updated_at": shown_time(row.updated_at),
        "self": f"{BASE}/{row.namespace}",
        "schema": "/v2/schemas/metadefs/namespace",
    }


def _part_document(row: MetadataDefinition) -> Document:
    shown: Document = {**msgspec.json.decode(row.document), "name": row.name}
    if row.kind != PROPERTY:
        shown |= {"created_at": shown_time(row.created_at), "updated_at": shown_time(row.updated_at)}
    if row.kind in (OBJECT, TAG):
        shown["self"] = f"{BASE}/{row.namespace}/{PATHS[row.kind]}/{row.name}"
        shown["schema"] = f"/v2/schemas/metadefs/{row.kind}"
    return shown


def _whole(session: Session, row: MetadataDefinition) -> Document:
    """A namespace with all that is in it."""
    shown = _namespace_document(row)
    for kind, word in LISTS.items():
        parts: Any = [_part_document(part) for part in _parts(session, row.namespace, kind)]
        if kind == PROPERTY:
            parts = {part.pop("name"): part for part in parts}
        if parts:
            shown[word] = parts
    return shown
