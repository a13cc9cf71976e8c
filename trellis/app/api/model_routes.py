"""Which models jobs may ask for."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from trellis.app.sources import Models


class ModelModel(BaseModel):
    """A model that jobs may ask for by its name."""

    name: str
    takes: Literal["pictures", "prompt"]
    default: bool = Field(description="The first that takes what it takes: used where a job states no model.")


class ModelList(BaseModel):
    """The models, first the one that the program was started with."""

    models: list[ModelModel]


def model_routes(models: Models) -> APIRouter:
    """The route under /models."""
    router = APIRouter(tags=["Models"])

    @router.get("/models")
    async def list_models() -> ModelList:
        """List the models that jobs may ask for, and what they take."""
        answer, seen = [], set()
        for name in models.names:
            takes: Literal["pictures", "prompt"] = "prompt" if name in models.of_texts else "pictures"
            answer.append(ModelModel(name=name, takes=takes, default=takes not in seen))
            seen.add(takes)
        return ModelList(models=answer)

    return router
