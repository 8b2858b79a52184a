"""`ctx.state`: named values of an execution, checked whenever one of them is set.

Nothing of it is stored. After a wait and in a later attempt the function runs again from its top, steps give back
what they gave, and so the state becomes what it was. That is why it is not set inside of a step: that is not done
again.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from ._errors import BadSignature, DefinitionError, StateInvalid, StepError
from ._places import caller
from ._typing import sentence
from ._waits import inside

if TYPE_CHECKING:
    from ._running import Run


def checked_schema(schema: Any, *, workflow_id: str, place: str) -> type[Any] | None:
    """The model, guarded; BadSignature for what is none, and for one with a field that has no default."""
    if schema is None:
        return None
    import pydantic  # a program without a state never loads it

    what = f"{place}: the state of {workflow_id}"
    if not isinstance(schema, type) or not issubclass(schema, pydantic.BaseModel):
        raise BadSignature(f"{what} is a pydantic model, not {schema!r}")
    try:
        schema()
    except pydantic.ValidationError as error:
        told = sentence(error)
        raise BadSignature(f"{what} begins with its defaults, and each field needs one: {told}") from error
    return _guarded(schema)


def new_state(run: Run) -> Any:
    """As it is when the function begins; DefinitionError without a schema."""
    if run.state_schema is None:
        workflow_id = run.claim["workflow_id"]
        raise DefinitionError(f"{workflow_id} has no state: say its model with @workflow(state_schema=...)")
    return run.state_schema()


def _guarded(schema: Any) -> type[Any]:
    """The model itself, but for what happens when a field is set."""
    import pydantic

    def set_field(self: Any, name: str, value: Any) -> None:
        if (step := inside.get()) is not None:
            raise StepError(
                f"ctx.state.{name} is set inside of the step {step!r}, at {caller()}: a later attempt does not "
                "call that again, and would not have it. Return it from the step, and set it outside"
            )
        try:
            schema.__setattr__(self, name, value)
        except pydantic.ValidationError as error:
            told = sentence(error).removeprefix(f"{name}: ")
            raise StateInvalid(f"ctx.state.{name}, set at {caller()}, is not valid: {told}") from None
        except ValueError as error:  # a field that there is not
            raise StateInvalid(f"ctx.state.{name}, set at {caller()}: {error}") from error

    def same(self: Any, other: object) -> bool:
        return isinstance(other, schema) and dict(self) == dict(other)

    names = {
        "__setattr__": set_field,
        "__eq__": same,
        "__hash__": None,
        "__module__": schema.__module__,
        "__qualname__": schema.__qualname__,
        "__doc__": schema.__doc__,
        "model_config": pydantic.ConfigDict(validate_assignment=True),
    }
    return types.new_class(schema.__name__, (schema,), exec_body=lambda body: body.update(names))
