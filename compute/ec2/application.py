"""The EC2 query API as WSGI sees it: the identity service checks a signature, then an action is looked up and done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import webob

from objstore.client.errors import ClientError
from objstore.client.identity import IdentityClient
from objstore.cloud.callers import CloudCaller
from objstore.cloud.web import Call, CallerLookup, Fault, WebApplication, WebRoute
from objstore.compute.core.context import ComputeContext
from objstore.compute.ec2 import images, instances, others
from objstore.compute.ec2.messages import (
    NAMESPACE,
    PARAMETERS_MAX,
    Ec2Call,
    ec2_fault,
    fault_for,
    nested,
    render_ec2_fault,
    to_xml,
    xml_response,
)
from objstore.compute.errors import ComputeError
from objstore.metrics import Metrics

# The token and the description of it for a signed request; None if it is not signed by a known key.
SignatureCheck = Callable[[dict[str, Any]], tuple[str, dict[str, Any]] | None]
ACTIONS: Final[dict[str, Callable[[Ec2Call], dict[str, Any]]]] = {
    "RunInstances": instances.run_instances,
    "DescribeInstances": instances.describe_instances,
    "DescribeInstanceStatus": instances.describe_status,
    "StartInstances": instances.start_instances,
    "StopInstances": instances.stop_instances,
    "RebootInstances": instances.reboot_instances,
    "TerminateInstances": instances.terminate_instances,
    "GetConsoleOutput": instances.console_output,
    "DescribeInstanceAttribute": instances.describe_attribute,
    "ModifyInstanceAttribute": instances.modify_attribute,
    "DescribeImages": images.describe_images,
    "CreateImage": images.create_image,
    "DeregisterImage": images.deregister_image,
    "RegisterImage": images.register_image,
    "CreateKeyPair": others.create_key,
    "ImportKeyPair": others.import_key,
    "DeleteKeyPair": others.delete_key,
    "DescribeKeyPairs": others.describe_keys,
    "DescribeInstanceTypes": others.describe_types,
    "DescribeRegions": others.describe_regions,
    "DescribeAvailabilityZones": others.describe_zones,
    "CreateTags": others.create_tags,
    "DeleteTags": others.delete_tags,
    "DescribeTags": others.describe_tags,
    "DescribeSecurityGroups": others.describe_groups,
    "DescribeVpcs": others.describe_vpcs,
    "DescribeSubnets": others.describe_subnets,
    "DescribeAccountAttributes": others.account_attributes,
    **{name: others.empty(key) for name, key in others.EMPTY.items()},
    **dict.fromkeys(others.NOT_OFFERED, others.not_offered),
}


def by_identity(identity: IdentityClient) -> SignatureCheck:
    """Asks the identity service."""

    def check(signed: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        try:
            return identity.ec2_token(signed)
        except ClientError as error:
            raise ec2_fault("Unavailable", "The identity service cannot be asked at this moment.", 503) from error

    return check


def ec2_application(
    context: ComputeContext,
    check: SignatureCheck,
    callers: CallerLookup,
    region: str,
    metrics: Metrics | None = None,
) -> WebApplication:
    """One path, and a form that says what to do."""

    def serve(web: Call) -> webob.Response:
        content = web.body()
        text = content.decode("utf-8", "replace") if web.request.method == "POST" else web.request.query_string
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
        except ValueError:
            raise ec2_fault("InvalidRequest", f"A request has at most {PARAMETERS_MAX} parameters.") from None
        given = dict(pairs)
        caller = _caller(web, content, given, check)
        name = given.get("Action", "")
        action = ACTIONS.get(name)
        if action is None:
            raise ec2_fault("InvalidAction", f"The action {name[:64]} is not valid for this web service.")
        try:
            document = action(Ec2Call(web, context, caller, region, nested(given)))
        except ComputeError as error:
            raise fault_for(error) from error
        inner = f"<requestId>{web.id}</requestId>{to_xml(document)}"
        return xml_response(200, f'<{name}Response xmlns="{NAMESPACE}">{inner}</{name}Response>')

    routes = [WebRoute(method, "/", serve, public=True) for method in ("GET", "POST")]
    return WebApplication("ec2", routes, callers, render_ec2_fault, metrics)


def _caller(web: Call, content: bytes, given: dict[str, str], check: SignatureCheck) -> CloudCaller:
    """Whose signature the request has. Raises Fault AuthFailure."""
    request = web.request
    authorization = request.headers.get("Authorization", "")
    access = given.get("AWSAccessKeyId") or given.get("X-Amz-Credential", "").partition("/")[0]
    signature = given.get("Signature") or given.get("X-Amz-Signature", "")
    if authorization.startswith("AWS4-HMAC-SHA256"):
        fields = dict(
            part.strip().partition("=")[::2] for part in authorization.partition(" ")[2].split(",") if "=" in part
        )
        access, signature = fields.get("Credential", "").partition("/")[0], fields.get("Signature", "")
    if not access or not signature:
        raise ec2_fault("MissingAuthenticationToken", "The request has no signature.", 401)
    signed = {
        "access": access,
        "signature": signature,
        "host": request.host,
        "verb": request.method,
        "path": request.path,
        "params": given,
        "headers": dict(request.headers),
        "body_hash": hashlib.sha256(content).hexdigest(),
    }
    found = check(signed)
    if found is None:
        raise ec2_fault("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    token, document = found
    try:
        caller = CloudCaller.of_token(token, document)
    except (KeyError, TypeError, ValueError) as error:
        raise Fault(503, "The identity service's answer is not understood.") from error
    if caller.project_id is None:
        raise ec2_fault("AuthFailure", "The access key is of no project.", 401)
    return caller
