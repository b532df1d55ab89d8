"""What of a run is stored: itself, without secrets. What its agent is to get stays in this process.

Knows runs and the mask; no store and no agent. A run that comes back from the store after a restart
has only what was stored: its agent never gets a prompt with holes in it.
"""

from dataclasses import replace
from typing import Final

from gateway.core import messages
from gateway.core.errors import SecretLostError
from gateway.core.extension import CodingRequest, Profile
from gateway.core.messages import Message
from gateway.core.record import Run
from gateway.core.secrets import Mask

# In a stored message's metadata: something in it or in its request was masked.
MASKED_KEY: Final = "urn:a2a-gateway:masked"


class Masking:
    """Masks what a log stores, and remembers what it masked of a run for the run's agent."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self._given: dict[str, tuple[Message, CodingRequest]] = {}

    def stored(self, run: Run) -> Run:
        """`run` as it may be stored; the very same where it holds no secret."""
        wire = messages.to_wire(run.message)
        masked = self.mask.data(wire)
        request = self._request(run.request)
        metadata = self.mask.data(run.metadata) if run.metadata else run.metadata
        if masked is wire and request is run.request:
            return run if metadata is run.metadata else replace(run, metadata=metadata)
        self._given[run.id] = (run.message, run.request)
        message = messages.from_wire(masked)
        message = replace(message, metadata={**message.metadata, MASKED_KEY: True})
        return replace(run, message=message, request=request, metadata=metadata)

    def given(self, run: Run) -> Run:
        """`run` with its message and request as the caller gave them. Raises: SecretLostError."""
        if (known := self._given.get(run.id)) is not None:
            return replace(run, message=known[0], request=known[1])
        if MASKED_KEY in run.message.metadata:
            raise SecretLostError(run.id)
        return run

    def forget(self, run_id: str) -> None:
        """The run is over or another process's."""
        self._given.pop(run_id, None)

    def _request(self, request: CodingRequest) -> CodingRequest:
        """Names and folders stay: a run is found by them."""
        profile, schema, trace = request.profile, request.output_schema, request.trace
        if profile is not None and (text := self.mask.text(profile.text)) is not profile.text:
            profile = Profile(source=profile.source, text=text)
        schema = self.mask.data(schema) if schema else schema
        trace = self.mask.data(trace) if trace else trace
        now = {"profile": profile, "output_schema": schema, "trace": trace}
        same = all(value is getattr(request, name) for name, value in now.items())
        return request if same else request.model_copy(update=now)
