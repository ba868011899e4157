"""Containers shown as web sites: index pages, error pages, listings as pages. For those without a token.

What the owner sets as metadata of the container (X-Container-Meta-...):

    Web-Index            the object that stands for a folder, as index.html
    Web-Error            the end of the names of error pages: "error.html" makes 404error.html
    Web-Listings         whether folders without an index are listed
    Web-Listings-CSS     the style sheet of listings, as a path in the container or a URL
    Web-Listings-Label   what a listing is called, in place of the path
    Web-Directory-Type   the type of objects that stand for folders, application/directory by default
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import msgspec

from objstore.errors import StoreError
from objstore.headers import Client, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Response, variable_of
from objstore.limits import text_of
from objstore.paths import ResourcePath
from objstore.proxy.swift import errors
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.host_names import SENT_PATH
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

INDEX, ERROR, LISTINGS, CSS, LABEL, FOLDER_TYPE = (
    "Web-Index",
    "Web-Error",
    "Web-Listings",
    "Web-Listings-Css",
    "Web-Listings-Label",
    "Web-Directory-Type",
)
DEFAULT_FOLDER_TYPE: Final = "application/directory"
WEB_MODE: Final = "X-Web-Mode"
# Parameters of temporary URLs.
SIGNED: Final = ("temp_url_prefix", "temp_url_expires", "temp_url_ip_range", "temp_url_sig")
PASSED_ON: Final = ("Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
_STYLE: Final = (
    "h1 {font-size: 1em; font-weight: bold} p {font-size: 2} table {border: 0} th {text-align: left} "
    "th, td {padding: 0 1em 0 0}"
)


class StaticWeb(Feature):
    """Answers as a web server where the container is a web site and the client shows no token."""

    methods = frozenset({"GET", "HEAD"})
    kinds = frozenset({"container", "object"})
    variables = frozenset({variable_of(WEB_MODE)})

    def __init__(self, context: ProxyContext) -> None:
        self._info = context.lookup

    def sections(self) -> Mapping[str, Section]:
        """A section without items."""
        return {"staticweb": {}}

    def __call__(self, request: SwiftRequest) -> Response | None:
        """A page, or None for what the handlers answer as well. Raises HttpError, CoreError."""
        environ = request.environ
        is_asked = "HTTP_X_WEB_MODE" in environ and is_true(environ["HTTP_X_WEB_MODE"])
        if request.is_of_web_page or not (request.identity is None or is_asked):
            return None
        resource = request.storage_resource
        metadata = self._info.container(resource.container_path, request.transaction_id).metadata
        if not resource.object and not metadata.get(INDEX) and not is_true(metadata.get(LISTINGS)):
            if is_asked:
                raise HttpError(404)
            return None
        if not any(metadata.get(name) for name in (INDEX, ERROR, LISTINGS, FOLDER_TYPE)):
            return None
        return _Visit(self, request, resource, metadata).answer()


class _Visit:
    """One request to one web site."""

    def __init__(
        self, feature: StaticWeb, request: SwiftRequest, site: ResourcePath, metadata: Mapping[str, str]
    ) -> None:
        self._send = feature.send
        self._request = request
        self._resource = site
        self._container = site.container_path
        self._metadata = metadata
        self._has_slash = request.path.endswith("/")
        self._shows_folders = bool(metadata.get(INDEX)) or is_true(metadata.get(LISTINGS))

    def answer(self) -> Response:
        """The document, the folder that has this name, or an error page."""
        try:
            if self._resource.object and (found := self._document()).status != 404:
                return found
            if not self._shows_folders:
                raise HttpError(404)
            return self._folder()
        except StoreError as error:
            if not errors.is_foreseen(error):
                raise
            return self._error_page(errors.answer_to(error))

    def _document(self) -> Response:
        """The object of this name; 404 if there is none, or it is a folder's. Raises HttpError for other refusals."""
        response = self._ask(self._resource)
        if response.status < 400 or response.status in (412, 416):
            folder_type = self._metadata.get(FOLDER_TYPE) or DEFAULT_FOLDER_TYPE
            is_folder = response.headers.get(Client.CONTENT_TYPE, "").partition(";")[0].strip() == folder_type
            if not is_folder or int(response.headers.get(Client.CONTENT_LENGTH) or 0) > 1:
                return response
            response.close()
            return Response(404)
        response.close()
        if response.status != 404:
            raise HttpError(response.status, headers=_challenge(response))
        return response

    def _folder(self) -> Response:
        """The index page of a folder, else its listing; without a slash at the end, where it is."""
        name = self._resource.object
        folder = f"{name}/" if name and not name.endswith("/") else name
        if not name and not self._has_slash:
            return self._redirect()
        if index := self._metadata.get(INDEX):
            response = self._ask(self._container.with_object(folder + text_of(index)))
            if response.status < 400:
                if self._has_slash:
                    return response
                response.close()
                return self._redirect()
            response.close()
            if response.status != 404:
                raise HttpError(response.status, headers=_challenge(response))
        if self._has_slash:
            return self._listing(folder)
        if not self._rows(folder, limit=1):
            raise HttpError(404)
        return self._redirect()

    def _ask(self, path: ResourcePath, query: str = "", method: str = "", *, whole: bool = False) -> Response:
        """What the store itself answers. Conditions and ranges are passed on, unless it is to be the whole document."""
        sent = self._request
        headers = {} if whole else {name: value for name in PASSED_ON if (value := sent.header(name)) is not None}
        made = sent.derived(method or sent.method, path, query, headers)
        made.is_of_web_page = True
        try:
            return self._send(made)
        except StoreError as error:
            if not errors.is_foreseen(error):
                raise
            return errors.answer_to(error)

    def _redirect(self) -> Response:
        """301 to the same path with a slash."""
        environ = self._request.environ
        path = quote(environ.get(SENT_PATH, self._request.path).encode("latin-1"))
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        return Response(301, {"Location": f"{self._request.origin}{path}/{query}"})

    def _rows(self, folder: str, limit: int | None = None) -> list[dict[str, Any]]:
        """What lies directly in a folder. Raises HttpError 401, 404..."""
        query: dict[str, str] = {"format": "json", "prefix": folder, "delimiter": "/"}
        if limit is not None:
            query["limit"] = str(limit)
        response = self._ask(self._container, urlencode(query), "GET", whole=True)
        if response.status >= 300:
            response.close()
            raise HttpError(response.status, headers=_challenge(response))
        content = response.read_all()
        rows: list[dict[str, Any]] = msgspec.json.decode(content) if content else []
        return rows

    def _listing(self, folder: str) -> Response:
        if not is_true(self._metadata.get(LISTINGS)):
            raise HttpError(404)
        rows = self._rows(folder)
        if folder and not rows:
            raise HttpError(404)
        shown = self._request.path.encode("latin-1").decode("utf-8", "replace")
        label = text_of(self._metadata.get(LABEL, ""))
        title = escape(f"Listing of {label}{'' if folder == '' else '/' + folder}" if label else f"Listing of {shown}")
        page = [
            '<!DOCTYPE html>\n<html>\n <head>\n  <meta charset="utf-8">',
            f"  <title>{title}</title>",
            self._style(folder),
            f' </head>\n <body>\n  <h1 id="title">{title}</h1>\n  <table id="listing">',
            '   <tr id="heading"><th class="colname">Name</th><th class="colsize">Size</th>'
            '<th class="coldate">Date</th></tr>',
        ]
        if folder and folder != self._request.params.get(SIGNED[0]):
            page.append(
                '   <tr id="parent" class="item"><td class="colname"><a href="../">../</a></td><td></td><td></td></tr>'
            )
        query = self._signed_query()
        page += [_row(row, folder, query) for row in rows if row.get("subdir", row.get("name")) != folder]
        page.append("  </table>\n </body>\n</html>\n")
        body = "\n".join(page).encode()
        headers = {Client.CONTENT_TYPE: "text/html; charset=UTF-8", Client.CONTENT_LENGTH: str(len(body))}
        return Response(200, headers, b"" if self._request.method == "HEAD" else body)

    def _signed_query(self) -> str:
        """What makes links of a listing work for those who have a temporary URL of it."""
        params = self._request.params
        signed: dict[str, str] = {name: params[name] for name in SIGNED if name in params}
        if not signed:
            return ""
        return f"?{urlencode(signed, safe='/', quote_via=quote)}{'&inline' if 'inline' in params else ''}"

    def _style(self, folder: str) -> str:
        sheet = self._metadata.get(CSS)
        if not sheet:
            return f'  <style type="text/css">{_STYLE}</style>'
        if not sheet.startswith(("/", "http://", "https://")):
            sheet = "../" * folder.count("/") + quote(text_of(sheet))
        return f'  <link rel="stylesheet" type="text/css" href="{escape(sheet)}" />'

    def _error_page(self, refusal: Response) -> Response:
        """The site's own page of the status, if it has one."""
        suffix = self._metadata.get(ERROR)
        if not suffix:
            return refusal
        page = self._ask(self._container.with_object(f"{refusal.status}{text_of(suffix)}"), whole=True)
        if not 200 <= page.status < 300:
            page.close()
            return refusal
        headers = {**page.headers, **_challenge(refusal)}
        return Response(refusal.status, headers, page.body)


def _challenge(response: Response) -> dict[str, str]:
    value = response.headers.get(Client.WWW_AUTHENTICATE)
    return {} if value is None else {Client.WWW_AUTHENTICATE: value}


def _row(row: Mapping[str, Any], folder: str, query: str) -> str:
    """A line of a listing: a folder, or an object with its size and date."""
    if "subdir" in row:
        name = row["subdir"].removeprefix(folder)
        return f'   <tr class="item subdir"><td class="colname">{_link(name, query)}</td><td></td><td></td></tr>'
    kind = "type-" + row["content_type"].partition(";")[0].replace("/", " type-")
    size, date = _size(row["bytes"]), row["last_modified"].partition(".")[0].replace("T", " ")
    return (
        f'   <tr class="item {escape(kind)}"><td class="colname">{_link(row["name"].removeprefix(folder), query)}</td>'
        f'<td class="colsize">{size}</td><td class="coldate">{escape(date)}</td></tr>'
    )


def _link(name: str, query: str) -> str:
    # A name that begins like a scheme, "a:b", would be one.
    return f'<a href="./{quote(name)}{escape(query)}">{escape(name)}</a>'


def _size(size: int) -> str:
    """A size as people read it: 1023, 2Ki, 17Mi."""
    shown = float(size)
    for unit in ("", "Ki", "Mi", "Gi", "Ti"):
        if shown < 1024:
            return f"{shown:.0f}{unit}"
        shown /= 1024
    return f"{shown:.0f}Pi"
