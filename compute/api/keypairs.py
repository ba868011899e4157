"""/os-keypairs."""

from __future__ import annotations

from typing import Any, Final

import webob
from msgspec import Struct

from objstore.compute.api.calls import ApiCall, ApiHandler, iso_micro
from objstore.compute.core.keypairs import create_keypair, delete_keypair, get_keypair, list_keypairs
from objstore.compute.model.tables import KeypairRow


class KeypairBody(Struct, forbid_unknown_fields=True):
    name: str
    public_key: str | None = None


def _shown(row: KeypairRow) -> dict[str, Any]:
    return {"name": row.name, "public_key": row.public_key, "fingerprint": row.fingerprint}


def _list(call: ApiCall) -> webob.Response:
    rows = call.context.read(lambda session: list_keypairs(session, call.caller.user_id))
    return call.answer({"keypairs": [{"keypair": _shown(row)} for row in rows]})


def _create(call: ApiCall) -> webob.Response:
    body = call.body(KeypairBody, "keypair")
    row, private = create_keypair(call.context, call.caller, body.name, body.public_key)
    shown = _shown(row) | {"user_id": row.user_id} | ({"private_key": private} if private else {})
    return call.answer({"keypair": shown})


def _show(call: ApiCall) -> webob.Response:
    row = call.context.read(lambda session: get_keypair(session, call.caller.user_id, call.arguments["name"]))
    more = {
        "user_id": row.user_id,
        "created_at": iso_micro(row.created_at),
        "deleted": False,
        "deleted_at": None,
        "id": row.id,
        "updated_at": None,
    }
    return call.answer({"keypair": _shown(row) | more})


def _delete(call: ApiCall) -> webob.Response:
    delete_keypair(call.context, call.caller.user_id, call.arguments["name"])
    return call.empty(202)


ROUTES: Final[dict[str, ApiHandler]] = {
    "GET /os-keypairs": _list,
    "POST /os-keypairs": _create,
    "GET /os-keypairs/{name}": _show,
    "DELETE /os-keypairs/{name}": _delete,
}
