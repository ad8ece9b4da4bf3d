"""The API server: authentication, authorization, then the verb on the resource."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.fakes.kubernetes import discovery, errors, reviews
from tests.fakes.kubernetes.access import Authorizer, Tokens
from tests.fakes.kubernetes.applying import applied_by, merged
from tests.fakes.kubernetes.controllers.base import Settings
from tests.fakes.kubernetes.eviction import evict
from tests.fakes.kubernetes.lists import list_objects
from tests.fakes.kubernetes.logs import Logs
from tests.fakes.kubernetes.managed import Writer, writer_of
from tests.fakes.kubernetes.messages import Answer, Request
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.options import delete_options, dry_run
from tests.fakes.kubernetes.presentation import check_accept, converted, listed, shown
from tests.fakes.kubernetes.reading import APPLY, media_type, patched, read_object, warning
from tests.fakes.kubernetes.registry import Registry
from tests.fakes.kubernetes.releases import as_before_v1_34
from tests.fakes.kubernetes.resources import BY_PATH, GROUP_VERSIONS, Resource
from tests.fakes.kubernetes.routes import Route, attributes, parse
from tests.fakes.kubernetes.scale import scale_of, scaled
from tests.fakes.kubernetes.watches import Watch


class Api:
    """Answers requests from the store; ``stop`` ends the open watches."""

    def __init__(
        self, registry: Registry, tokens: Tokens, logs: Logs, settings: Settings, stop: threading.Event
    ) -> None:
        self._registry, self._tokens, self._logs = registry, tokens, logs
        self._settings, self._stop = settings, stop
        self._store = registry.store
        self._authorizer = Authorizer(self._store)

    def handle(self, request: Request) -> Answer:
        """Never raises for what a client may do wrong."""
        try:
            request = replace(request, user=self._tokens.user(request.headers.get("authorization")))
            route = parse(request.path)
            with self._store.lock:
                self._authorizer.check(request.user, attributes(request, route))
                answer = self._answer(request, route)
                return as_before_v1_34(answer) if self._settings.before_v1_34 else answer
        except errors.ApiError as error:
            return Answer(error.code, error.body, error.headers)

    def _answer(self, request: Request, route: Route) -> Answer:
        if not route.plural:
            if self._backend_is_missing(request.path):
                return Answer(503, "service unavailable\n")
            return discovery.answer(request)
        if route.group in ("authorization.k8s.io", "authentication.k8s.io"):
            return reviews.answer(self._authorizer, request, route)
        group = "" if route.group == "events.k8s.io" else route.group
        resource = BY_PATH.get((group, route.version, route.plural))
        if resource is None:
            return self._unknown(request, route)
        return self._resource(request, route, resource)

    def _backend_is_missing(self, path: str) -> bool:
        """Whether an APIService stands for this group and version: none here has a backend."""
        parts = path.strip("/").split("/")
        name = f"{parts[2]}.{parts[1]}" if len(parts) > 2 and parts[0] == "apis" else ""
        return self._store.find("apiservices.apiregistration.k8s.io", "", name) is not None

    def _unknown(self, request: Request, route: Route) -> Answer:
        if self._backend_is_missing(request.path):
            return Answer(503, "service unavailable\n")
        known_group = any(group == route.group for group, _ in GROUP_VERSIONS)
        if known_group and (not route.group.endswith("cert-manager.io")):
            raise errors.no_such_resource()
        raise errors.no_such_path()

    def _resource(self, request: Request, route: Route, resource: Resource) -> Answer:
        if not resource.namespaced:
            route = replace(route, namespace="")
        if request.method in ("HEAD", "OPTIONS"):
            raise errors.method_not_allowed()
        if not route.subresource:
            check_accept(request)
        if request.is_watch or route.old_watch:
            return self._watch(request, route, resource)
        if route.subresource:
            return self._subresource(request, route, resource)
        verbs: dict[tuple[str, bool], Callable[[Request, Route, Resource], Answer]] = {
            ("GET", False): self._list,
            ("POST", False): self._create,
            ("DELETE", False): self._delete_all,
            ("GET", True): self._get,
            ("PUT", True): self._put,
            ("PATCH", True): self._patch,
            ("DELETE", True): self._delete,
        }
        verb = verbs.get((request.method, bool(route.name)))
        if verb is None or (verb == self._delete_all and resource.plural == "namespaces"):
            raise errors.method_not_allowed()
        return verb(request, route, resource)

    def _list(self, request: Request, route: Route, resource: Resource) -> Answer:
        metadata, found = list_objects(self._store, resource, route.namespace, {**request.query, "group": route.group})
        return listed(request, resource, route, metadata, found)

    def _get(self, request: Request, route: Route, resource: Resource) -> Answer:
        return shown(request, resource, route, self._registry.get(resource, route.namespace, route.name))

    def _create(self, request: Request, route: Route, resource: Resource) -> Answer:
        body, unknown = read_object(request, resource, route)
        trial = dry_run(request, "CreateOptions")
        writer = _writer(request, route)
        created = self._registry.create(resource, route.namespace, body, dry_run=trial, writer=writer)
        return shown(request, resource, route, created, 201, warning(unknown))

    def _put(self, request: Request, route: Route, resource: Resource) -> Answer:
        body, unknown = read_object(request, resource, route)
        trial = dry_run(request, "UpdateOptions")
        old = self._registry.get_for_update(resource, route.namespace, route.name, body)
        updated = self._registry.update(
            resource, old, body, subresource=route.subresource, dry_run=trial, writer=_writer(request, route)
        )
        return shown(request, resource, route, updated, headers=warning(unknown))

    def _patch(self, request: Request, route: Route, resource: Resource) -> Answer:
        trial = dry_run(request, "PatchOptions")
        if media_type(request) == APPLY:
            return self._apply(request, route, resource, trial)
        old = self._registry.get(resource, route.namespace, route.name)
        new, unknown = patched(request, resource, old)
        updated = self._registry.update(
            resource, old, new, subresource=route.subresource, dry_run=trial, writer=_writer(request, route)
        )
        return shown(request, resource, route, updated, headers=warning(unknown))

    def _apply(self, request: Request, route: Route, resource: Resource, trial: bool) -> Answer:
        writer, wanted = applied_by(request, route.subresource)
        old = self._store.find(resource.id, route.namespace, route.name)
        if old is None:
            wanted.setdefault("metadata", {})["name"] = route.name
            stored = self._registry.create(resource, route.namespace, wanted, dry_run=trial, writer=writer)
        else:
            new = merged(request, writer, old, wanted)
            stored = self._registry.update(
                resource, old, new, subresource=route.subresource, dry_run=trial, writer=writer
            )
        return shown(request, resource, route, stored, 201 if old is None else 200)

    def _delete(self, request: Request, route: Route, resource: Resource) -> Answer:
        options = delete_options(request)
        body = self._registry.delete(resource, route.namespace, route.name, options)
        if body["kind"] == "Status":
            return Answer(200, body)
        return shown(request, resource, route, body)

    def _delete_all(self, request: Request, route: Route, resource: Resource) -> Answer:
        options = delete_options(request)
        metadata, found = list_objects(self._store, resource, route.namespace, request.query)
        for obj in found:
            self._registry.delete(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"], options)
        metadata["resourceVersion"] = str(self._store.version)
        return listed(request, resource, route, metadata, found)

    def _watch(self, request: Request, route: Route, resource: Resource) -> Answer:
        query = dict(request.query)
        if route.name:
            query["fieldSelector"] = f"metadata.name={route.name}"

        def show(obj: Obj) -> Obj:
            return converted(request, resource, route, obj)

        watch = Watch(self._store, resource, route.namespace, query, show, self._stop, self._settings.watch_pace)
        return Answer(200, watch.events())

    def _subresource(self, request: Request, route: Route, resource: Resource) -> Answer:
        if route.subresource not in resource.subresources:
            raise errors.no_such_resource()
        match request.method, route.subresource:
            case ("POST", "eviction"):
                return self._evict(request, route)
            case ("POST", "token"):
                account = self._registry.get(resource, route.namespace, route.name)
                return Answer(201, self._tokens.request(account, json.loads(request.body or b"{}")))
            case ("GET", "log"):
                pod = self._registry.get(resource, route.namespace, route.name)
                return self._logs.answer(pod, request.query)
            case (_, "scale"):
                return self._scale(request, route, resource)
            case ("GET", "status"):
                return self._get(request, route, resource)
            case ("PUT", "status" | "finalize"):
                return self._put(request, route, resource)
            case ("PATCH", "status" | "resize"):
                return self._patch(request, route, resource)
        raise errors.method_not_allowed()

    def _evict(self, request: Request, route: Route) -> Answer:
        body = json.loads(request.body)
        options = delete_options(request, body.get("deleteOptions") or {})
        return Answer(201, evict(self._registry, route.namespace, route.name, body, options))

    def _scale(self, request: Request, route: Route, resource: Resource) -> Answer:
        old = self._registry.get(resource, route.namespace, route.name)
        scale = scale_of(old)
        if request.method == "GET":
            return Answer(200, scale)
        if request.method not in ("PUT", "PATCH"):
            raise errors.method_not_allowed()
        trial = dry_run(request, "PatchOptions")
        wanted: Any = json.loads(request.body) if request.method == "PUT" else patched(request, resource, scale)[0]
        new = scaled(resource, old, wanted)
        updated = self._registry.update(resource, old, new, dry_run=trial, writer=_writer(request, route))
        return Answer(200, scale_of(updated))


def _writer(request: Request, route: Route) -> Writer:
    return writer_of(request.query, request.header("user-agent"), route.subresource)
