"""Job descriptions shipped with the distribution, by name.

Knows no run: where the Markdown of `profile/` lies, in a checkout and in an installation.
"""

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent
# A wheel carries the texts inside the package; a checkout (editable install) has them beside it.
_FOLDERS: Final = (_PACKAGE / "profile", _PACKAGE.parent / "profile")


def shipped_profiles() -> dict[str, Path]:
    """The shipped profiles: name (`reviewer-remediator`) -> file."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return {} if folder is None else {file.stem: file for file in sorted(folder.glob("*.md"))}
