"""botocore's model of Bedrock as a judge of requests: names, types, required members, unions, least sizes, enumerations."""

import base64
from functools import cache
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.session import Session
from botocore.validate import ParamValidator


@cache
def operation(name: str) -> OperationModel:
    model: ServiceModel = Session().get_service_model("bedrock-runtime")
    return model.operation_model(name)


def faults(name: str, body: dict[str, Any], model: str) -> str:
    """What is wrong with the body of an operation; "" for nothing. Blobs are base64 on the wire, and bytes to botocore."""
    shape = operation(name).input_shape
    params = _unwired(body | {"modelId": model}, shape)
    report = ParamValidator().validate(params, shape)
    return "; ".join(
        filter(None, [report.generate_report() if report.has_errors() else "", *_enumerated(params, shape, "")])
    )


def _unwired(value: Any, shape: Shape) -> Any:
    if shape.type_name == "structure" and isinstance(value, dict) and not getattr(shape, "is_document_type", False):
        members = shape.members
        return {n: _unwired(v, members[n]) if n in members else v for n, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_unwired(item, shape.member) for item in value]
    return base64.b64decode(value, validate=True) if shape.type_name == "blob" and isinstance(value, str) else value


def _enumerated(value: Any, shape: Shape, path: str) -> list[str]:
    """botocore leaves it to the service to check words and lengths; here they are."""
    if shape.type_name == "structure" and isinstance(value, dict) and not getattr(shape, "is_document_type", False):
        members = shape.members
        return [fault for n, v in value.items() if n in members for fault in _enumerated(v, members[n], f"{path}.{n}")]
    if shape.type_name == "list" and isinstance(value, list):
        return [fault for i, v in enumerate(value) for fault in _enumerated(v, shape.member, f"{path}[{i}]")]
    if isinstance(value, str) and getattr(shape, "enum", None) and value not in shape.enum:
        return [f"{path}: {value!r} is none of {shape.enum}"]
    most = shape.metadata.get("max")
    return [f"{path}: too long"] if isinstance(value, str) and most and len(value) > most else []
