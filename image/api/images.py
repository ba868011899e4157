"""Images as records: create, list, show, change, delete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID, uuid4

import webob
from sqlalchemy.orm import Session

from objstore.cloud.callers import CloudCaller
from objstore.cloud.database import SqlDatabase
from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.image.access import NotAllowed, check_admin, check_owner, check_writer
from objstore.image.api.documents import Document, attributes_of, image_document
from objstore.image.api.faults import refusing
from objstore.image.importing import METHODS
from objstore.image.model import statuses
from objstore.image.model.attributes import WRITABLE, BadValue, ImageLimits, LimitExceeded, NotChangeable, checked
from objstore.image.model.listing import parsed_query
from objstore.image.model.patch import MEDIA_TYPES, changed, parsed_changes
from objstore.image.model.statuses import check_transition
from objstore.image.queries import find_image, list_images
from objstore.image.records import DISCARDED, ImageProperty, ImageRecord, ImageTag
from objstore.image.transfers import Transfers, usage_of

FORMATS: Final = ("disk_format", "container_format")


@dataclass
class ImagesApi:
    """Handlers of /v2/images and /v2/images/ID."""

    database: SqlDatabase
    transfers: Transfers
    limits: ImageLimits

    def routes(self) -> list[WebRoute]:
        one = "/v2/images/{image_id}"
        return [
            WebRoute("POST", "/v2/images", refusing(self.create)),
            WebRoute("GET", "/v2/images", refusing(self.list)),
            WebRoute("DELETE", "/v2/images", refusing(_unnamed)),
            WebRoute("GET", one, refusing(self.show)),
            WebRoute("PATCH", one, refusing(self.change)),
            WebRoute("DELETE", one, refusing(self.delete)),
        ]

    def create(self, call: Call) -> webob.Response:
        document = call.json()
        if not isinstance(document, dict):
            raise BadValue("Request body must be a JSON object.")
        check_writer(call.caller)
        image_id = _new_id(document.pop("id", None))
        given = {name: checked(name, value) for name, value in document.items()}
        given.setdefault("owner", call.caller.project_id)
        given.setdefault("visibility", "shared")
        before = {"owner": call.caller.project_id, "visibility": "shared"}
        _check_rights(call.caller, before, given)
        self.limits.check(given, {})

        def add(session: Session) -> Document:
            limit = self.transfers.quota.image_count_total
            if limit is not None and usage_of(session, given["owner"]).image_count_total >= limit:
                raise LimitExceeded("images", limit)
            if session.get(ImageRecord, image_id) is not None:
                raise Fault(409, f"Image ID {image_id} already exists!")
            now = self.transfers.now()
            image = ImageRecord(id=image_id, status=statuses.QUEUED, created_at=now, min_ram=0, min_disk=0)
            image.protected = image.os_hidden = False
            image.properties, image.tags, image.data = [], [], []
            self._set(image, given)
            session.add(image)
            session.flush()
            return image_document(image)

        shown = self.database.run(add)
        headers = {
            "Location": f"{call.request.application_url}/v2/images/{image_id}",
            "OpenStack-image-import-methods": ",".join(METHODS),
            "OpenStack-image-store-ids": ",".join(self.transfers.stores),
        }
        return json_answer(201, shown, headers)

    def _set(self, image: ImageRecord, attributes: Mapping[str, Any]) -> None:
        """Give an image these attributes and no other properties of its user's."""
        for name in WRITABLE.keys() & attributes.keys() - {"tags"}:
            setattr(image, name, attributes[name])
        tags = set(attributes.get("tags", ()))
        image.tags = [each for each in image.tags if each.value in tags]
        image.tags += [ImageTag(value=tag) for tag in sorted(tags - {each.value for each in image.tags})]
        wanted = {name: value for name, value in attributes.items() if name not in WRITABLE}
        for each in list(image.properties):
            if each.name in wanted:
                each.value = wanted.pop(each.name)
            elif not each.name.startswith("os_glance_"):
                image.properties.remove(each)
        image.properties += [ImageProperty(name=name, value=value) for name, value in wanted.items()]
        image.updated_at = self.transfers.now()

    def list(self, call: Call) -> webob.Response:
        if call.request.path_info.endswith("/"):
            _unnamed(call)
        parameters = list(call.request.GET.items())
        query = parsed_query(parameters)
        with self.database.reading() as session:
            images = list_images(session, call.caller, query) if query.limit else []
            shown = [image_document(image) for image in images]
        kept = [(name, value) for name, value in parameters if name != "marker"]
        page: Document = {"images": shown, "first": _link(kept), "schema": "/v2/schemas/images"}
        if images and len(images) == query.limit:
            page["next"] = _link([*kept, ("marker", images[-1].id)])
        return json_answer(200, page)

    def show(self, call: Call) -> webob.Response:
        with self.database.reading() as session:
            shown = image_document(find_image(session, call.caller, call.arguments["image_id"]))
        return json_answer(200, shown)

    def change(self, call: Call) -> webob.Response:
        kind = call.request.content_type
        if kind not in MEDIA_TYPES:
            accepted = {"Accept-Patch": ", ".join(MEDIA_TYPES)}
            raise Fault(415, f"Unsupported Content-Type: {kind:.100}", headers=accepted)
        changes = parsed_changes(call.json(types=MEDIA_TYPES), kind)

        def apply(session: Session) -> Document:
            image = find_image(session, call.caller, call.arguments["image_id"])
            check_owner(call.caller, image)
            before = attributes_of(image)
            after = changed(before, changes)
            _check_rights(call.caller, before, after)
            for name in FORMATS:
                if after[name] != before[name] and image.status != statuses.QUEUED:
                    raise NotChangeable(name, "can only be changed while the image is queued")
            self.limits.check(after, before)
            self._set(image, after)
            session.flush()
            return image_document(image)

        return json_answer(200, self.database.run(apply))

    def delete(self, call: Call) -> webob.Response:
        def mark(session: Session) -> list[str]:
            image = find_image(session, call.caller, call.arguments["image_id"])
            check_owner(call.caller, image)
            if image.protected:
                raise NotAllowed(f"Image {image.id} is protected and cannot be deleted.")
            if image.uses:
                raise Fault(409, f"Image {image.id} is in use: {len(image.uses)} disks rest on its data.")
            check_transition(image.status, statuses.DELETED)
            image.status = statuses.DELETED
            image.updated_at = self.transfers.now()
            image.members, image.tags, image.properties = [], [], []
            for data in image.data:
                data.state = DISCARDED
            return [data.id for data in image.data]

        for data_id in self.database.run(mark):
            self.transfers.live.cancel(data_id)
        self.transfers.discarded.set()
        return empty_answer()


def _unnamed(_call: Call) -> webob.Response:
    raise Fault(404, "No image has an empty id.")


def _new_id(given: object) -> str:
    """Raises BadValue."""
    if given is None:
        return str(uuid4())
    try:
        image_id = str(UUID(str(given)))
    except ValueError as error:
        raise BadValue(f"Invalid image id {given!r:.50}: a UUID is expected.") from error
    if image_id != given:
        raise BadValue(f"Invalid image id {given!r:.50}: expected in the form {image_id}.")
    return image_id


def _check_rights(caller: CloudCaller, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raises NotAllowed for what only administrators may do: publish, and give images away."""
    public = "public" in (before["visibility"], after["visibility"])
    if public and before["visibility"] != after["visibility"]:
        check_admin(caller)
    if after["owner"] != before["owner"] or (after["owner"] is None and not caller.is_admin):
        check_admin(caller)


def _link(parameters: list[tuple[str, str]]) -> str:
    return "/v2/images" + (f"?{urlencode(parameters)}" if parameters else "")
