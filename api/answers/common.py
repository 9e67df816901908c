"""What every answer is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)$", examples=["5000000000"])]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


NextCursor = Annotated[str | None, Field(description="send it as ?cursor= for the next page; null at the end")]
