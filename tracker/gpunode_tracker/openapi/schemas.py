"""JSON schemas of the models: what a body has to be, and what an answer is."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gpunode_protocol.signing import WireModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

REF_TEMPLATE: Final = "#/components/schemas/{model}"

# The last character of a group that is not whole has bits that mean nothing; they must be 0 (RFC 4648, 3.5).
_GROUP: Final = "[A-Za-z0-9_-]"
_ONE_BYTE: Final = f"{_GROUP}[AQgw](==)?"
_TWO_BYTES: Final = f"{_GROUP}{{2}}[AEIMQUYcgkosw048]=?"

Models = Mapping[tuple[type[WireModel], JsonSchemaMode], JsonSchemaValue]
"""The reference to each model's schema."""


def schemas_of(
    bodies: Iterable[type[WireModel]], replies: Iterable[type[WireModel]]
) -> tuple[Models, dict[str, JsonSchemaValue]]:
    """Return references to the schemas of models, and the schemas by name.

    Args:
        bodies: models of requests. Fields with a default may be missing, or null where None is a value.
        replies: models of answers. Only fields that may be None may be missing: they are left out then, never null.
    """
    wanted: list[tuple[type[WireModel], JsonSchemaMode]] = [
        *((model, "validation") for model in dict.fromkeys(bodies)),
        *((model, "serialization") for model in dict.fromkeys(replies)),
    ]
    references, definitions = models_json_schema(wanted, ref_template=REF_TEMPLATE, schema_generator=_WireSchema)
    return {(model, mode): references[model, mode] for model, mode in wanted}, definitions.get("$defs", {})


class _WireSchema(GenerateJsonSchema):
    """As ``WireModel`` reads and writes: bytes are URL-safe base64, and None is left out of answers."""

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        low, high = schema.get("min_length", 0), schema.get("max_length")
        found: JsonSchemaValue = {"type": "string", "format": "base64url", "pattern": _base64url_pattern(low, high)}
        if low:
            found["minLength"] = math.ceil(low * 4 / 3)  # padding may be left out
        if high is not None:
            found["maxLength"] = math.ceil(high / 3) * 4
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        if self.mode == "serialization" and "properties" in found:
            properties = {name: _without_null(value) for name, value in found["properties"].items()}
            found["required"] = [name for name, value in found["properties"].items() if value == properties[name]]
            found["properties"] = {
                name: {key: part for key, part in value.items() if key != "default"}
                for name, value in properties.items()
            }
            if not found["required"]:
                del found["required"]
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Titles would repeat the names."""
        del schema
        return False


def _without_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    kinds = schema.get("anyOf")
    if not kinds or {"type": "null"} not in kinds:
        return schema
    others = [kind for kind in kinds if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return rest | (others[0] if len(others) == 1 else {"anyOf": others})


def _base64url_pattern(low: int, high: int | None) -> str:
    """Return the pattern of base64 text, with or without padding, of ``low`` to ``high`` bytes; None = any number.

    A fixed number of bytes is told exactly; a range only by its lengths beside the pattern.
    """
    if low != high or high is None:
        return f"^({_GROUP}{{4}})*({_ONE_BYTE}|{_TWO_BYTES})?$"
    groups, rest = divmod(high, 3)
    return f"^({_GROUP}{{4}}){{{groups}}}({('', _ONE_BYTE, _TWO_BYTES)[rest]})$"
