"""Whether an address may be served: beyond this machine only what is meant and protected.

Knows settings, no server.
"""

from typing import Final

from gateway.core.addresses import is_loopback_host
from wrappers.settings import WrapperSettings, is_loopback_url

ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - looked for, not bound


class ExposureError(Exception):
    """The address would offer this machine to others without the protection that needs."""


def check_exposure(settings: WrapperSettings) -> None:
    """Raises: ExposureError unless wrapper and public URL are loopback, or meant and protected."""
    beyond = not is_loopback_host(settings.host)
    if beyond and (settings.no_auth or not settings.roots or not settings.insecure_bind):
        raise ExposureError(
            f"{settings.host} is not loopback: whoever reaches it runs code here; that takes a "
            "token (no --no-auth), folders (--root) and --insecure-bind"
        )
    if settings.host in ANY_ADDRESS and settings.public_url is None:
        raise ExposureError(
            f"nobody can call {settings.host or 'an empty host'}: name this wrapper's own address "
            "with --host, or say with --public-url under which URL others reach it"
        )
    if settings.public_url is not None and not is_loopback_url(settings.public_url):
        clear = settings.public_url.startswith("http:") and not settings.insecure_bind
        if settings.no_auth or not settings.roots or clear:
            raise ExposureError(
                f"{settings.public_url} is not loopback: whoever reaches it runs code here; that "
                "takes a token (no --no-auth), folders (--root), and https or --insecure-bind"
            )
    if settings.no_auth and settings.register_at is not None:
        raise ExposureError("--register hands a token over, and --no-auth has none; choose one")
