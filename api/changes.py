"""What a PATCH may hold, in whatever room it is."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


class Changes(BaseModel):
    """A PATCH: what is named is changed, and null only where the field may be nothing."""

    _NEVER_NULL: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _null_only_where_it_means_something(self) -> Self:
        for name in sorted(self._NEVER_NULL & self.model_fields_set):
            if getattr(self, name) is None:
                raise PydanticCustomError("never_null", "{name} cannot be null; leave it out.", {"name": name})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for name in cls._NEVER_NULL:
            forms = properties[name].pop("anyOf")
            del properties[name]["default"]
            properties[name] |= next(form for form in forms if form != {"type": "null"})
        return schema

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"reason"})
