"""Who is asking (tokens) and what they may do (RBAC)."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass, field, replace

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.objects import Obj, new_uid, timestamp
from tests.fakes.kubernetes.store import Store

MASTERS = "system:masters"
_PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY_PATHS = ("/api", "/apis", "/openapi")
_FOR_EVERYBODY = {
    ("authorization.k8s.io", "selfsubjectaccessreviews"): "system:basic-user",
    ("authorization.k8s.io", "selfsubjectrulesreviews"): "system:basic-user",
    ("authentication.k8s.io", "selfsubjectreviews"): "system:basic-user",
}


@dataclass(frozen=True)
class User:
    """An authenticated subject."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    credential: str = ""

    @property
    def account(self) -> tuple[str, str] | None:
        """(namespace, name) of a service account."""
        parts = self.name.split(":")
        return (parts[2], parts[3]) if parts[:2] == ["system", "serviceaccount"] else None


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True)
class Attributes:
    """What a request wants to do; ``path`` for one outside of the resources."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass
class _Token:
    user: User
    expires: float


def account_user(namespace: str, name: str, uid: str = "") -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid)


def _segment(content: Obj) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@dataclass
class Tokens:
    """Bearer tokens and whom they stand for."""

    _known: dict[str, _Token] = field(default_factory=dict)

    def issue(self, user: User, seconds: float) -> str:
        """A new token (three parts, as a JSON web token has) that is valid for ``seconds``."""
        claims = {"sub": user.name, "exp": int(time.time() + seconds), "jti": new_uid()}
        header = _segment({"alg": "RS256", "kid": "fake"})
        token = f"{header}.{_segment(claims)}.{secrets.token_urlsafe(32)}"
        self._known[token] = _Token(replace(user, credential=str(claims["jti"])), time.time() + seconds)
        return token

    def expire(self, token: str | None = None) -> None:
        """From now on ``token`` (default: every token) is answered 401."""
        for known in self._known if token is None else [token]:
            self._known[known].expires = 0

    def user(self, authorization: str | None) -> User:
        """Raises: ApiError 401 for a token that is unknown or has expired."""
        if authorization is None or not authorization.startswith("Bearer "):
            return ANONYMOUS
        found = self._known.get(authorization.removeprefix("Bearer "))
        if found is None or found.expires <= time.time():
            raise errors.failure(401, "Unauthorized", "Unauthorized")
        return found.user

    def request(self, account: Obj, body: Obj) -> Obj:
        """The answer to a TokenRequest of a service account."""
        namespace, name, uid = (account["metadata"][k] for k in ("namespace", "name", "uid"))
        spec = body.get("spec") or {}
        seconds = spec.get("expirationSeconds") or 3600
        token = self.issue(account_user(namespace, name, uid), seconds)
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": timestamp()},
            "spec": {
                "audiences": spec.get("audiences") or ["https://kubernetes.default.svc.cluster.local"],
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {"token": token, "expirationTimestamp": timestamp(time.time() + seconds)},
        }


def _covers(wanted: str, allowed: list[str]) -> bool:
    return "*" in allowed or wanted in allowed


def _rule_allows(rule: Obj, asked: Attributes) -> bool:
    verbs = rule.get("verbs") or []
    if asked.path:
        paths = rule.get("nonResourceURLs") or []
        return _covers(asked.verb, verbs) and any(
            asked.path == p or (p.endswith("*") and asked.path.startswith(p[:-1])) for p in paths
        )
    resources = rule.get("resources") or []
    names = rule.get("resourceNames") or []
    return (
        _covers(asked.verb, verbs)
        and _covers(asked.group, rule.get("apiGroups") or [])
        and (_covers(asked.full_resource, resources) or f"*/{asked.subresource}" in resources)
        and (not names or asked.name in names)
    )


def _subject_text(subject: Obj, namespace: str) -> str:
    if subject["kind"] == "ServiceAccount":
        return f'ServiceAccount "{subject["name"]}/{subject.get("namespace") or namespace}"'
    return f'{subject["kind"]} "{subject["name"]}"'


def _is_subject(user: User, subject: Obj, namespace: str) -> bool:
    match subject["kind"]:
        case "User":
            return bool(user.name == subject["name"])
        case "Group":
            return subject["name"] in user.groups
        case _:
            return user.account == (subject.get("namespace") or namespace, subject["name"])


class Authorizer:
    """RBAC over the roles and bindings in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reason(self, user: User, asked: Attributes) -> str | None:
        """Why ``user`` may do it ('' for an administrator), or None when they may not."""
        if MASTERS in user.groups:
            return ""
        built_in = self._built_in(user, asked)
        return built_in or self._bound(user, asked)

    def _built_in(self, user: User, asked: Attributes) -> str | None:
        authenticated = "system:authenticated" in user.groups
        group = "system:authenticated" if authenticated else "system:unauthenticated"
        role = None
        if asked.path and asked.verb == "get":
            if asked.path in _PUBLIC_PATHS:
                role = "system:public-info-viewer"
            elif authenticated and any(asked.path == p or asked.path.startswith(p + "/") for p in _DISCOVERY_PATHS):
                role = "system:discovery"
        elif authenticated and asked.verb == "create":
            role = _FOR_EVERYBODY.get((asked.group, asked.resource))
        if role is None:
            return None
        return f'RBAC: allowed by ClusterRoleBinding "{role}" of ClusterRole "{role}" to Group "{group}"'

    def _bound(self, user: User, asked: Attributes) -> str | None:
        bindings = self._store.each("clusterrolebindings.rbac.authorization.k8s.io")
        if asked.namespace:
            bindings = bindings + self._store.all("rolebindings.rbac.authorization.k8s.io", asked.namespace)
        for binding in bindings:
            namespace = binding["metadata"].get("namespace", "")
            for subject in binding.get("subjects") or []:
                if _is_subject(user, subject, namespace) and self._role_allows(binding, namespace, asked):
                    shown = f"{binding['metadata']['name']}/{namespace}" if namespace else binding["metadata"]["name"]
                    role = binding["roleRef"]
                    return (
                        f'RBAC: allowed by {binding["kind"]} "{shown}" of {role["kind"]} "{role["name"]}" '
                        f"to {_subject_text(subject, namespace)}"
                    )
        return None

    def _role_allows(self, binding: Obj, namespace: str, asked: Attributes) -> bool:
        reference = binding["roleRef"]
        cluster_wide = reference["kind"] == "ClusterRole"
        plural = "clusterroles" if cluster_wide else "roles"
        where = "" if cluster_wide else namespace
        role = self._store.find(f"{plural}.rbac.authorization.k8s.io", where, reference["name"])
        return role is not None and any(_rule_allows(rule, asked) for rule in role.get("rules") or [])

    def check(self, user: User, asked: Attributes) -> None:
        """Raises: ApiError 403 in the words of the real server."""
        if self.reason(user, asked) is not None:
            return
        if asked.path:
            message = f'User "{user.name}" cannot {asked.verb} path "{asked.path}"'
            raise errors.failure(403, "Forbidden", f"forbidden: {message}", {})
        scope = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        why = (
            f'User "{user.name}" cannot {asked.verb} resource "{asked.full_resource}" '
            f'in API group "{asked.group}" {scope}'
        )
        raise errors.forbidden(asked.resource, asked.group, asked.name, why)


def attributes_of_review(spec: Obj) -> Attributes | None:
    """What an access review asks about; None when it asks about neither or both."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        return None
    if path is not None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    assert resource is not None
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(*(resource.get(f, "") for f in fields))
