"""Which models jobs may ask for."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from trellis.app.job_sources import Models


class ModelModel(BaseModel):
    """A model that jobs may ask for by its name."""

    name: str
    takes: Literal["pictures", "prompt"]
    default: bool = Field(description="The first here that takes what it takes: used where a job states no model.")
    here: bool = Field(description="If not, a job that names it fetches it first.")
    refusal: str | None = Field(description="Why a job cannot have it yet: what its licence asks to be accepted.")


class ModelList(BaseModel):
    """The models, first the one that the program was started with."""

    models: list[ModelModel]


def model_routes(models: Models) -> APIRouter:
    """The route under /models."""
    router = APIRouter(tags=["Models"])

    @router.get("/models")
    async def list_models() -> ModelList:
        """List the models that jobs may ask for, and what they take."""
        answer = []
        for name in models.names:
            prompts = name in models.of_texts
            takes: Literal["pictures", "prompt"] = "prompt" if prompts else "pictures"
            default, here = name == models.default_of(prompts=prompts), name not in models.to_fetch
            refusal = models.refusal(name)
            answer.append(ModelModel(name=name, takes=takes, default=default, here=here, refusal=refusal))
        return ModelList(models=answer)

    return router
