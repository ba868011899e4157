"""What the service is and has: versions, schemas, stores, usage, tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import webob
from sqlalchemy import or_, select

from objstore.cloud.web import Call, Fault, WebRoute, json_answer
from objstore.image.access import check_admin
from objstore.image.api.data import DataApi
from objstore.image.api.documents import Document, task_document
from objstore.image.api.faults import refusing
from objstore.image.importing import METHODS
from objstore.image.model.attributes import BadValue
from objstore.image.model.listing import PAGE_DEFAULT, PAGE_MAX
from objstore.image.model.schemas import DEFINITION_SCHEMAS, SCHEMAS, Schema
from objstore.image.queries import find_image
from objstore.image.records import ImageTask
from objstore.image.transfers import Transfers, usage_of

CURRENT: Final = "v2.9"
SUPPORTED: Final = ("v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0")
MIB: Final = 1 << 20
UNLIMITED: Final = -1


@dataclass
class DiscoveryApi:
    """Handlers of what describes the service."""

    transfers: Transfers
    data: DataApi

    def routes(self) -> list[WebRoute]:
        of_image = "/v2/images/{image_id}"
        return [
            WebRoute("GET", "/", refusing(lambda call: _versions(call, 300)), public=True),
            WebRoute("GET", "/v2", refusing(lambda call: _versions(call, 300)), public=True),
            WebRoute("GET", "/versions", refusing(lambda call: _versions(call, 200)), public=True),
            WebRoute("GET", "/v2/schemas/{name}", refusing(lambda call: _schema(call, SCHEMAS))),
            WebRoute("GET", "/v2/schemas/metadefs/{name}", refusing(lambda call: _schema(call, DEFINITION_SCHEMAS))),
            WebRoute("GET", "/v2/info/import", refusing(self.import_methods)),
            WebRoute("GET", "/v2/info/stores", refusing(lambda call: self.stores(call, detail=False))),
            WebRoute("GET", "/v2/info/stores/detail", refusing(lambda call: self.stores(call, detail=True))),
            WebRoute("GET", "/v2/info/usage", refusing(self.usage)),
            WebRoute("GET", f"{of_image}/tasks", refusing(self.tasks_of_image)),
            WebRoute("GET", f"{of_image}/locations", refusing(self.locations)),
            WebRoute("GET", "/v2/tasks", refusing(self.tasks)),
            WebRoute("GET", "/v2/tasks/{task_id}", refusing(self.task)),
        ]

    def import_methods(self, _call: Call) -> webob.Response:
        methods = {"description": "Import methods available.", "type": "array", "value": list(METHODS)}
        return json_answer(200, {"import-methods": methods})

    def stores(self, call: Call, detail: bool) -> webob.Response:
        if detail:
            check_admin(call.caller)
        shown: list[Document] = []
        for name, store in self.transfers.stores.items():
            entry: Document = {"id": name}
            if name == self.transfers.default_store:
                entry["default"] = "true"
            if detail:
                entry |= {"type": store.kind, "properties": {}}
            shown.append(entry)
        return json_answer(200, {"stores": shown})

    def usage(self, call: Call) -> webob.Response:
        with self.transfers.database.reading() as session:
            used = usage_of(session, call.caller.project_id)
        quota = self.transfers.quota
        shown: Document = {}
        for name in ("image_size_total", "image_stage_total", "image_count_total", "image_count_uploading"):
            unit = MIB if "size" in name or "stage" in name else 1
            limit = getattr(quota, name)
            shown[name] = {
                "usage": -(-getattr(used, name) // unit),
                "limit": UNLIMITED if limit is None else limit // unit,
            }
        return json_answer(200, {"usage": shown})

    def locations(self, call: Call) -> webob.Response:
        return json_answer(200, self.data.locations(call))

    def tasks_of_image(self, call: Call) -> webob.Response:
        with self.transfers.database.reading() as session:
            image = find_image(session, call.caller, call.arguments["image_id"])
            if not call.caller.is_admin and image.owner != call.caller.project_id:
                raise Fault(403, "Another project owns the image.")
            found = session.scalars(select(ImageTask).where(ImageTask.image_id == image.id).limit(PAGE_MAX))
            shown = [task_document(task) for task in found]
        return json_answer(200, {"tasks": shown})

    def tasks(self, call: Call) -> webob.Response:
        check_admin(call.caller)
        query = call.request.GET
        limit = query.get("limit", str(PAGE_DEFAULT))
        if not (limit.isascii() and limit.isdigit()):
            raise BadValue("The limit is a number from 0.")
        count = min(int(limit), PAGE_MAX)
        statement = select(ImageTask).order_by(ImageTask.created_at.desc(), ImageTask.id.desc()).limit(count)
        for name in ("status", "type"):
            if name in query:
                statement = statement.where(getattr(ImageTask, name) == query[name])
        with self.transfers.database.reading() as session:
            if "marker" in query:
                marker = session.get(ImageTask, query["marker"])
                if marker is None:
                    raise BadValue("Invalid marker: there is no such task.")
                same = (ImageTask.created_at == marker.created_at) & (ImageTask.id < marker.id)
                statement = statement.where(or_(ImageTask.created_at < marker.created_at, same))
            shown = [task_document(task) for task in session.scalars(statement)]
        page: Document = {"tasks": shown, "first": "/v2/tasks", "schema": "/v2/schemas/tasks"}
        if shown and len(shown) == count:
            page["next"] = f"/v2/tasks?marker={shown[-1]['id']}&limit={count}"
        return json_answer(200, page)

    def task(self, call: Call) -> webob.Response:
        check_admin(call.caller)
        with self.transfers.database.reading() as session:
            found = session.get(ImageTask, call.arguments["task_id"])
            if found is None:
                raise Fault(404, "There is no such task.")
            return json_answer(200, task_document(found))


def _schema(call: Call, known: dict[str, Schema]) -> webob.Response:
    name = call.arguments["name"]
    if name not in known:
        raise Fault(404, f"There is no schema {name:.64}.")
    return json_answer(200, known[name])


def _versions(call: Call, status: int) -> webob.Response:
    link = [{"rel": "self", "href": f"{call.request.application_url}/v2/"}]
    entries = [{"id": CURRENT, "status": "CURRENT", "links": link}]
    entries += [{"id": version, "status": "SUPPORTED", "links": link} for version in SUPPORTED]
    return json_answer(status, {"versions": entries})
