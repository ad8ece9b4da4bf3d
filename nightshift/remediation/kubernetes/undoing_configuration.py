"""The opposites of changes of configuration: pure, from the action and from what it really did. All of them by hand."""

from __future__ import annotations

from nightshift.remediation.actions import Effect
from nightshift.remediation.kubernetes.configuring import (
    CreateAutoscaler,
    RemoveAutoscaler,
    ReplaceSecret,
    SetImage,
    SetIssuer,
    UpdateAutoscaler,
    UpdateConfigMap,
    UpdateIngress,
    UpdateQuota,
)
from nightshift.remediation.kubernetes.undoing import opposite_of
from nightshift.remediation.models import Action
from nightshift.remediation.text import printable

_AS_BEFORE = "As the diagnosis saw it."


def setting_back(action: Action, _effect: Effect | None) -> Action:
    """The value from before, which is the only one allowed."""
    done = UpdateConfigMap.from_json(action.arguments)
    among = () if done.was is None else (done.was,)
    back = done.model_copy(update={"was": done.value, "value": done.was, "among": among, "back_at": None})
    return opposite_of(action, back, f"Set {done.key} of {done.name} back", _AS_BEFORE)


def image_back(action: Action, effect: Effect | None) -> Action:
    """The image from before. Where the effect was never recorded, the guard against changes refuses."""
    done = SetImage.from_json(action.arguments)
    template = str(effect.evidence.get("template") or "") if effect is not None else ""
    update = {"was_image": done.image, "image": done.was_image, "template": template or done.template}
    title = f"Let {printable(done.container)} of {printable(done.name)} run its image from before"
    return opposite_of(action, done.model_copy(update=update), title, _AS_BEFORE)


def autoscaler_away(action: Action, effect: Effect | None) -> Action:
    """Without it; an autoscaler of which nobody recorded that it was made is not found by this."""
    done = CreateAutoscaler.from_json(action.arguments)
    uid = str(effect.evidence.get("uid") or "") if effect is not None else ""
    away = RemoveAutoscaler(namespace=done.namespace, name=done.name, uid=uid)
    return opposite_of(action, away, f"Take the autoscaler of {done.name} away", "It had none before.")


def bounds_back(action: Action, _effect: Effect | None) -> Action:
    """The bounds from before. A waiting time that was not stated stays."""
    done = UpdateAutoscaler.from_json(action.arguments)
    limits = {"floor": done.was.min_replicas, "ceiling": done.was.max_replicas}
    back = done.model_copy(update={"was": done.bounds, "bounds": done.was, **limits})
    return opposite_of(action, back, f"Give the autoscaler {done.name} its bounds from before", _AS_BEFORE)


def quota_back(action: Action, _effect: Effect | None) -> Action:
    """The amount from before; what runs meanwhile stays."""
    done = UpdateQuota.from_json(action.arguments)
    back = done.model_copy(update={"was": done.value, "value": max(done.was, 1), "back": not done.back})
    return opposite_of(action, back, f"Lower {done.resource} of the quota {done.name} again", _AS_BEFORE)


def ingress_back(action: Action, _effect: Effect | None) -> Action:
    """The secret from before, if it is still complete."""
    done = UpdateIngress.from_json(action.arguments)
    back = done.model_copy(update={"was_secret": done.secret, "secret": done.was_secret})
    return opposite_of(action, back, f"Serve {done.name} with the secret {done.was_secret} again", _AS_BEFORE)


def secret_back(action: Action, effect: Effect | None) -> Action:
    """What the kept copy holds."""
    done = ReplaceSecret.from_json(action.arguments)
    version = str(effect.evidence.get("resource_version") or "") if effect is not None else ""
    update = {"values": {}, "copied_from": done.copy_name, "version": version, "copy_name": f"{done.copy_name}-after"}
    title = f"Give the secret {done.name} the contents of its copy {done.copy_name}"
    return opposite_of(action, done.model_copy(update=update), title, "It held this before.")


def issuer_back(action: Action, _effect: Effect | None) -> Action:
    """The issuer from before."""
    done = SetIssuer.from_json(action.arguments)
    was = {"was_kind": done.issuer_kind, "was_issuer": done.issuer}
    back = done.model_copy(update={**was, "issuer_kind": done.was_kind, "issuer": done.was_issuer})
    return opposite_of(action, back, f"Have {done.was_issuer} sign {done.name} again", _AS_BEFORE)
