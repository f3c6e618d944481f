"""Kubernetes' schemas of its objects, closed: a field that they do not name is an error, as ``kubectl apply`` has it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jsonschema

HERE = Path(__file__).parent

_METADATA = {
    "type": "object",
    "required": ["name", "labels"],
    "properties": {
        "name": {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"},
        "namespace": {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"},
        "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_CONFIG_MAP = {  # of the core API, which has no CustomResourceDefinition
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "data"],
    "properties": {
        "apiVersion": {"const": "v1"},
        "kind": {"const": "ConfigMap"},
        "metadata": {"type": "object"},
        "data": {
            "type": "object",
            "propertyNames": {"pattern": r"^[-._a-zA-Z0-9]+$"},
            "additionalProperties": {"type": "string"},
        },
    },
}
VERSIONS = {
    "ConfigMap": "v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "ScaledObject": "keda.sh/v1alpha1",
}


@cache
def schema_of(kind):
    schema = _CONFIG_MAP if kind == "ConfigMap" else json.loads((HERE / f"{kind}.schema.json").read_text(encoding="utf-8"))
    return _closed({**schema, "properties": {**schema["properties"], "metadata": _METADATA}})


def problems(manifest):
    """Return what is wrong with an object, a line each."""
    validator = jsonschema.Draft202012Validator(schema_of(manifest["kind"]))
    found = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]
    expected = VERSIONS[manifest["kind"]]
    return found if manifest["apiVersion"] == expected else [*found, f"$.apiVersion: it is not {expected}"]


def _closed(node):
    if isinstance(node, list):
        return [_closed(value) for value in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    if node.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    return closed
