"""Write the first revision of the schema anew: python -m tests.contract.baseline

For as long as no version is released. Later a change of the schema is a revision of its own, made
by `autogenerate("what it does", "0002")`, and HEAD moves.
"""

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from gateway.core.store import migrations
from gateway.core.store.migrations.revision import HEAD
from gateway.core.store.open import alembic_config

VERSIONS = Path(migrations.__path__[0]) / "versions"


def autogenerate(message: str, revision: str, connection: sa.Connection) -> Path:
    """Write the revision that leads from the newest one to the schema; returns its file."""
    config = alembic_config(connection)
    config.set_main_option("file_template", "%%(slug)s")
    command.revision(config, message=message, autogenerate=True, rev_id=revision)
    return VERSIONS / f"{message.lower().replace(' ', '_')}.py"


def main() -> None:
    (VERSIONS / "baseline.py").unlink(missing_ok=True)
    with sa.create_engine("sqlite://").connect() as connection:
        made = autogenerate("Baseline", HEAD, connection)
    lines = made.read_text("utf-8").splitlines(keepends=True)
    made.write_text("".join(line for line in lines if "# ###" not in line), "utf-8")
    for tool in (("check", "--fix-only", "--quiet"), ("format", "--quiet")):
        subprocess.run([sys.executable, "-m", "ruff", *tool, made], check=True)


if __name__ == "__main__":
    main()
