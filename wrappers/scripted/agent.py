"""The scripted agent, as start-a2a-agent offers it. Imports its adapter only when it is made."""

from typing import Final

from gateway.core.face.cards import Skill
from wrappers.adapter import Adapter
from wrappers.agent import Agent, Making
from wrappers.scripted.suites import DIRECT, behaviour_of


def _make(making: Making) -> Adapter:
    from wrappers.scripted.adapter import ScriptedAdapter  # noqa: PLC0415 - start-up time

    return ScriptedAdapter(env=making.environment(), home=making.folder)


SCRIPTED: Final = Agent(
    name="scripted",
    title="Scripted agent",
    skill=Skill(
        id="scripted",
        name="Do what the prompt's script says",
        description="An agent without a model, for demonstrations and tests.",
        tags=("test",),
        examples=("say hello", "ask Which colour? [blue|green]"),
    ),
    make=_make,
    unbounded=True,
    direct=lambda message: behaviour_of(message) == DIRECT,
)
