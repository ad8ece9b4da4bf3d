"""Reviews: may I, may they, who am I."""

from __future__ import annotations

import json

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.access import Attributes, Authorizer, User, attributes_of_review
from tests.fakes.kubernetes.messages import Answer, Request
from tests.fakes.kubernetes.objects import Obj, timestamp
from tests.fakes.kubernetes.routes import Route

_KINDS = {
    "selfsubjectaccessreviews": "SelfSubjectAccessReview",
    "subjectaccessreviews": "SubjectAccessReview",
    "selfsubjectreviews": "SelfSubjectReview",
    "selfsubjectrulesreviews": "SelfSubjectRulesReview",
}


def _status(authorizer: Authorizer, user: User, asked: Attributes) -> Obj:
    reason = authorizer.reason(user, asked)
    if reason is None:
        return {"allowed": False}
    return {"allowed": True, "reason": reason} if reason else {"allowed": True}


def _access(authorizer: Authorizer, body: Obj, user: User) -> Answer:
    asked = attributes_of_review(body.get("spec") or {})
    if asked is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        cause = errors.invalid_value("spec.resourceAttributes", "null", why)
        error = errors.invalid("", "authorization.k8s.io", "", [cause])
        error.status["details"].pop("kind")
        raise error
    return Answer(201, {**body, "metadata": {}, "status": _status(authorizer, user, asked)})


def answer(authorizer: Authorizer, request: Request, route: Route) -> Answer:
    """Raises: ApiError 404, 405, 422."""
    if request.method != "POST":
        raise errors.method_not_allowed()
    group_version = f"{route.group}/{route.version}"
    body: Obj = {"apiVersion": group_version, "kind": _KINDS.get(route.plural, ""), **json.loads(request.body)}
    match route.plural:
        case "selfsubjectaccessreviews":
            return _access(authorizer, body, request.user)
        case "subjectaccessreviews":
            spec = body["spec"]
            return _access(authorizer, body, User(spec.get("user", ""), tuple(spec.get("groups") or ())))
        case "selfsubjectreviews":
            info: Obj = {"username": request.user.name, "groups": list(request.user.groups)}
            if request.user.credential:
                info["extra"] = {"authentication.kubernetes.io/credential-id": [f"JTI={request.user.credential}"]}
            if request.user.uid:
                info["uid"] = request.user.uid
            return Answer(201, {**body, "metadata": {"creationTimestamp": timestamp()}, "status": {"userInfo": info}})
        case "selfsubjectrulesreviews":
            rules: Obj = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
            return Answer(201, {**body, "metadata": {}, "spec": {}, "status": rules})
    raise errors.no_such_resource()
