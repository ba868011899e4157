"""Credentials of users: access keys for the EC2 and S3 APIs, and other secrets, encrypted where they are stored."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64decode, b64encode
from typing import Any, Final

import msgspec
import webob
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.identity.application_credentials import refuse_restricted
from objstore.identity.records import (
    NAME_LENGTH,
    PROJECT,
    CredentialRecord,
    UserRecord,
    new_id,
)
from objstore.identity.resources import listed, with_link
from objstore.identity.standing import roles_in
from objstore.identity.state import IdentityState, missing, need_user
from objstore.identity.tokens import TokenScope

PER_USER_MAX: Final = 100
BLOB_MAX: Final = 16 * 1024  # characters
EC2: Final = "ec2"


class NewEc2Key(Struct):
    tenant_id: str


class NewCredential(Struct):
    type: str
    blob: str
    user_id: str | None = None
    project_id: str | None = None


class CredentialChange(Struct):
    type: str | UnsetType = UNSET
    blob: str | UnsetType = UNSET
    user_id: str | UnsetType | None = UNSET
    project_id: str | UnsetType | None = UNSET


class Ec2KeyPair(Struct):
    """What the blob of an ec2 credential says."""

    access: str
    secret: str


def credential_id(access: str) -> str:
    return hashlib.sha256(access.encode()).hexdigest()


class Credentials:
    """Access keys for the EC2 and S3 APIs by two of Keystone's APIs: OS-EC2, and credentials of type ec2."""

    def __init__(self, state: IdentityState) -> None:
        self._state = state

    def routes(self) -> list[WebRoute]:
        own = "/v3/users/{user}/credentials/OS-EC2"
        return [
            WebRoute("GET", own, self.list_keys),
            WebRoute("POST", own, self.create_key),
            WebRoute("GET", f"{own}/{{access}}", self.show_key),
            WebRoute("DELETE", f"{own}/{{access}}", self.delete_key),
            WebRoute("GET", "/v3/credentials", self.list),
            WebRoute("POST", "/v3/credentials", self.create),
            WebRoute("GET", "/v3/credentials/{id}", self.show),
            WebRoute("PATCH", "/v3/credentials/{id}", self.update),
            WebRoute("DELETE", "/v3/credentials/{id}", self.delete),
        ]

    def secret_of(self, record: CredentialRecord) -> Ec2KeyPair | None:
        """The access key of an ec2 credential; None if it is another, or cannot be decrypted any more."""
        blob = self._blob(record)
        try:
            return None if record.type != EC2 else msgspec.json.decode(blob, type=Ec2KeyPair)
        except msgspec.MsgspecError:
            return None

    def create_key(self, call: Call) -> webob.Response:
        need_user(call, call.arguments["user"])
        project_id = call.json_as(NewEc2Key).tenant_id
        key = Ec2KeyPair(secrets.token_hex(16), secrets.token_hex(16))
        blob = msgspec.json.encode(key).decode()
        new = NewCredential(EC2, blob, call.arguments["user"], project_id)
        record = self._state.database.run(lambda session: self._store(session, call, new))
        return json_answer(201, {"credential": self._key_document(record)})

    def list_keys(self, call: Call) -> webob.Response:
        need_user(call, call.arguments["user"])
        mine = select(CredentialRecord).where(
            CredentialRecord.user_id == call.arguments["user"], CredentialRecord.type == EC2
        )
        with self._state.database.reading() as session:
            rows = [self._key_document(each) for each in session.scalars(mine)]
        return listed(call, self._state.url, "credentials", rows)

    def show_key(self, call: Call) -> webob.Response:
        if not call.caller.is_service:
            need_user(call, call.arguments["user"])
        with self._state.database.reading() as session:
            return json_answer(200, {"credential": self._key_document(self._own_key(session, call))})

    def delete_key(self, call: Call) -> webob.Response:
        need_user(call, call.arguments["user"])

        def remove(session: Session) -> None:
            refuse_restricted(session, self._state, call)
            session.delete(self._own_key(session, call))

        self._state.database.run(remove)
        return empty_answer()

    def _own_key(self, session: Session, call: Call) -> CredentialRecord:
        record = session.get(CredentialRecord, credential_id(call.arguments["access"]))
        if record is None or record.user_id != call.arguments["user"] or record.type != EC2:
            raise missing("credential", call.arguments["access"])
        return record

    def create(self, call: Call) -> webob.Response:
        given = call.json_as(dict[str, NewCredential]).get("credential")
        if given is None:
            raise Fault(400, "The body has no credential.")
        need_user(call, given.user_id or call.caller.user_id)
        record = self._state.database.run(lambda session: self._store(session, call, given))
        return json_answer(201, {"credential": self._document(record)})

    def list(self, call: Call) -> webob.Response:
        """One's own; administrators see all, or those of `user_id`."""
        user_id = call.request.GET.get("user_id") or (None if call.caller.is_admin else call.caller.user_id)
        chosen = select(CredentialRecord).limit(1000)
        if user_id is not None:
            need_user(call, user_id)
            chosen = chosen.where(CredentialRecord.user_id == user_id)
        if (kind := call.request.GET.get("type")) is not None:
            chosen = chosen.where(CredentialRecord.type == kind)
        with self._state.database.reading() as session:
            rows = [self._document(each) for each in session.scalars(chosen)]
        return listed(call, self._state.url, "credentials", rows)

    def show(self, call: Call) -> webob.Response:
        """Services may see access keys, whose signatures they check."""
        with self._state.database.reading() as session:
            record = session.get(CredentialRecord, call.arguments["id"])
            seen = record is not None and (
                record.user_id == call.caller.user_id
                or call.caller.is_admin
                or (call.caller.is_service and record.type == EC2)
            )
            if record is None or not seen:
                raise missing("credential", call.arguments["id"])
            return json_answer(200, {"credential": self._document(record)})

    def update(self, call: Call) -> webob.Response:
        """The blob may change; whose it is, and for which project, may not: nobody makes it somebody else's."""
        change = call.json_as(dict[str, CredentialChange]).get("credential") or CredentialChange()

        def work(session: Session) -> CredentialRecord:
            refuse_restricted(session, self._state, call)
            record = self._own(session, call)
            for name in ("user_id", "project_id", "type"):
                if getattr(change, name) not in (UNSET, getattr(record, name)):
                    raise Fault(403, f"The {name} of a credential stays.")
            if change.blob is not UNSET:
                if record.type == EC2 and credential_id(_access_key(change.blob).access) != record.id:
                    raise Fault(400, "The access key of a credential stays.")
                record.blob = self._sealed(change.blob)
            return record

        return json_answer(200, {"credential": self._document(self._state.database.run(work))})

    def delete(self, call: Call) -> webob.Response:
        def remove(session: Session) -> None:
            refuse_restricted(session, self._state, call)
            session.delete(self._own(session, call))

        self._state.database.run(remove)
        return empty_answer()

    def _own(self, session: Session, call: Call) -> CredentialRecord:
        record = session.get(CredentialRecord, call.arguments["id"])
        if record is None or (record.user_id != call.caller.user_id and not call.caller.is_admin):
            raise missing("credential", call.arguments["id"])
        return record

    def _store(self, session: Session, call: Call, new: NewCredential) -> CredentialRecord:
        """A new one; for a project that its user has a role in, and no other."""
        user_id = new.user_id or call.caller.user_id
        application_credential = refuse_restricted(session, self._state, call)
        if session.get(UserRecord, user_id) is None:
            raise missing("user", user_id)
        if new.type == EC2 and new.project_id is None:
            raise Fault(400, "A credential of type ec2 is for a project.")
        if new.project_id is not None and not roles_in(session, user_id, TokenScope(PROJECT, new.project_id)):
            raise Fault(403, "A credential is for a project in which its user has a role.")
        if application_credential is not None and new.project_id != call.caller.project_id:
            raise Fault(403, "An application credential makes credentials for its own project alone.")
        has = select(func.count()).select_from(CredentialRecord).where(CredentialRecord.user_id == user_id)
        if (session.scalar(has) or 0) >= PER_USER_MAX:
            raise Fault(403, f"A user has at most {PER_USER_MAX} credentials.")
        its_id = credential_id(_access_key(new.blob).access) if new.type == EC2 else new_id()
        if session.get(CredentialRecord, its_id) is not None:
            raise Fault(409, "There is a credential with this access key.")
        record = CredentialRecord(
            id=its_id,
            type=new.type[:NAME_LENGTH],
            user_id=user_id,
            project_id=new.project_id,
            application_credential_id=application_credential,
            blob=self._sealed(new.blob),
        )
        session.add(record)
        return record

    def _sealed(self, blob: str) -> str:
        if len(blob) > BLOB_MAX:
            raise Fault(400, f"A blob has at most {BLOB_MAX} characters.")
        return b64encode(self._state.blobs.seal(blob.encode())).decode()

    def _blob(self, record: CredentialRecord) -> str:
        """ "" for one whose key is gone."""
        return (self._state.blobs.open(b64decode(record.blob)) or b"").decode()

    def _document(self, record: CredentialRecord) -> dict[str, Any]:
        document = {
            "id": record.id,
            "type": record.type,
            "user_id": record.user_id,
            "project_id": record.project_id,
            "blob": self._blob(record),
        }
        return with_link(document, self._state.url, "credentials")

    def _key_document(self, record: CredentialRecord) -> dict[str, Any]:
        key = self.secret_of(record) or Ec2KeyPair("", "")
        return {
            "access": key.access,
            "secret": key.secret,
            "user_id": record.user_id,
            "tenant_id": record.project_id,
            "trust_id": None,
            "links": {"self": f"{self._state.url}/v3/users/{record.user_id}/credentials/OS-EC2/{key.access}"},
        }


def _access_key(blob: str) -> Ec2KeyPair:
    """Raises Fault 400."""
    try:
        return msgspec.json.decode(blob, type=Ec2KeyPair)
    except msgspec.MsgspecError:
        raise Fault(400, 'The blob of a credential of type ec2 is {"access": ..., "secret": ...} as text.') from None
