"""Who else sees an image, how it is marked, and who rests on it: members, tags, activation, uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import webob
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.image.access import NotAllowed, check_owner, check_service
from objstore.image.api.documents import Document, member_document
from objstore.image.api.faults import refusing
from objstore.image.model import statuses
from objstore.image.model.attributes import MEMBER_STATUSES, TEXT_MAX, BadValue, ImageLimits, LimitExceeded
from objstore.image.queries import find_image
from objstore.image.records import ImageMember, ImageRecord, ImageTag, ImageUse
from objstore.image.transfers import Transfers

T = TypeVar("T")


@dataclass
class SharingApi:
    """Handlers of what hangs on an image."""

    transfers: Transfers
    limits: ImageLimits

    def routes(self) -> list[WebRoute]:
        one = "/v2/images/{image_id}"
        return [
            WebRoute("POST", f"{one}/members", refusing(self.add_member)),
            WebRoute("GET", f"{one}/members", refusing(self.members)),
            WebRoute("GET", f"{one}/members/{{member}}", refusing(self.member)),
            WebRoute("PUT", f"{one}/members/{{member}}", refusing(self.answer_as_member)),
            WebRoute("DELETE", f"{one}/members/{{member}}", refusing(self.remove_member)),
            WebRoute("PUT", f"{one}/tags/{{tag}}", refusing(self.add_tag)),
            WebRoute("DELETE", f"{one}/tags/{{tag}}", refusing(self.remove_tag)),
            WebRoute("POST", f"{one}/actions/deactivate", refusing(self.deactivate)),
            WebRoute("POST", f"{one}/actions/reactivate", refusing(self.reactivate)),
            WebRoute("PUT", f"{one}/uses/{{user}}", refusing(self.add_use)),
            WebRoute("DELETE", f"{one}/uses/{{user}}", refusing(self.remove_use)),
        ]

    def _with(self, call: Call, work: Callable[[ImageRecord], T]) -> T:
        """Do something to the image of a request, in one transaction."""

        def done(session: Session) -> T:
            return work(find_image(session, call.caller, call.arguments["image_id"]))

        return self.transfers.database.run(done)

    def add_member(self, call: Call) -> webob.Response:
        document = call.json()
        member = document.get("member") if isinstance(document, dict) else None
        if not isinstance(member, str) or not 0 < len(member) <= TEXT_MAX:
            raise BadValue("Member to be added not specified")

        def add(image: ImageRecord) -> Document:
            _check_shared(image)
            check_owner(call.caller, image)
            if any(each.member == member for each in image.members):
                raise Fault(409, f"Project {member} is a member of image {image.id} already.")
            if len(image.members) >= self.limits.members:
                raise LimitExceeded("members", self.limits.members)
            now = self.transfers.now()
            added = ImageMember(image_id=image.id, member=member, status="pending", created_at=now, updated_at=now)
            image.members.append(added)
            return member_document(added)

        return json_answer(200, self._with(call, add))

    def members(self, call: Call) -> webob.Response:
        def shown(image: ImageRecord) -> list[Document]:
            _check_shared(image)
            return [member_document(each) for each in image.members if _sees_member(call, image, each.member)]

        return json_answer(200, {"members": self._with(call, shown), "schema": "/v2/schemas/members"})

    def member(self, call: Call) -> webob.Response:
        return json_answer(200, self._with(call, lambda image: member_document(_member(call, image))))

    def answer_as_member(self, call: Call) -> webob.Response:
        document = call.json()
        status = document.get("status") if isinstance(document, dict) else None
        if status not in MEMBER_STATUSES:
            raise BadValue(f"Status must be one of {', '.join(MEMBER_STATUSES)}.")

        def answer(image: ImageRecord) -> Document:
            member = _member(call, image)
            if member.member != call.caller.project_id and not call.caller.is_admin:
                raise NotAllowed("Only the member itself accepts or rejects an image.")
            member.status, member.updated_at = status, self.transfers.now()
            return member_document(member)

        return json_answer(200, self._with(call, answer))

    def remove_member(self, call: Call) -> webob.Response:
        def remove(image: ImageRecord) -> None:
            member = _member(call, image)
            check_owner(call.caller, image)
            image.members.remove(member)

        self._with(call, remove)
        return empty_answer()

    def add_tag(self, call: Call) -> webob.Response:
        tag = call.arguments["tag"]
        if len(tag) > TEXT_MAX:
            raise BadValue(f"A tag has at most {TEXT_MAX} characters.")

        def add(image: ImageRecord) -> None:
            check_owner(call.caller, image)
            if any(each.value == tag for each in image.tags):
                return
            if len(image.tags) >= self.limits.tags:
                raise LimitExceeded("tags", self.limits.tags)
            image.tags.append(ImageTag(value=tag))
            image.updated_at = self.transfers.now()

        self._with(call, add)
        return empty_answer()

    def remove_tag(self, call: Call) -> webob.Response:
        tag = call.arguments["tag"]

        def remove(image: ImageRecord) -> None:
            check_owner(call.caller, image)
            found = [each for each in image.tags if each.value == tag]
            if not found:
                raise Fault(404, f"Image {image.id} has no tag {tag!r:.100}.")
            image.tags.remove(found[0])
            image.updated_at = self.transfers.now()

        self._with(call, remove)
        return empty_answer()

    def deactivate(self, call: Call) -> webob.Response:
        return self._becomes(call, statuses.DEACTIVATED)

    def reactivate(self, call: Call) -> webob.Response:
        return self._becomes(call, statuses.ACTIVE)

    def _becomes(self, call: Call, status: str) -> webob.Response:
        def change(image: ImageRecord) -> None:
            check_owner(call.caller, image)
            if image.status not in statuses.HAS_DATA:
                raise NotAllowed(f"An image that is {image.status} cannot become {status}.")
            image.status, image.updated_at = status, self.transfers.now()

        self._with(call, change)
        return empty_answer()

    def add_use(self, call: Call) -> webob.Response:
        """A service says that somebody's disk rests on the image's data: it is not deleted meanwhile."""
        user = call.arguments["user"]
        check_service(call.caller)
        if len(user) > TEXT_MAX:
            raise BadValue(f"The name of a user has at most {TEXT_MAX} characters.")

        def add(image: ImageRecord) -> None:
            if image.status not in statuses.HAS_DATA:
                raise Fault(409, f"Image {image.id} has no data.")
            if all(each.user != user for each in image.uses):
                image.uses.append(ImageUse(user=user))

        self._with(call, add)
        return empty_answer()

    def remove_use(self, call: Call) -> webob.Response:
        check_service(call.caller)

        def remove(image: ImageRecord) -> None:
            image.uses = [each for each in image.uses if each.user != call.arguments["user"]]

        self._with(call, remove)
        return empty_answer()


def _check_shared(image: ImageRecord) -> None:
    if image.visibility != "shared":
        raise NotAllowed("Only shared images have members.")


def _sees_member(call: Call, image: ImageRecord, member: str) -> bool:
    caller = call.caller
    return caller.is_admin or caller.project_id in (image.owner, member)


def _member(call: Call, image: ImageRecord) -> ImageMember:
    """The member that a request names. Raises Fault 404, NotAllowed."""
    _check_shared(image)
    name = call.arguments["member"]
    for each in image.members:
        if each.member == name and _sees_member(call, image, name):
            return each
    raise Fault(404, f"{name:.255} is no member of image {image.id}.")
