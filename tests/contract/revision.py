"""Write the next revision of the schema: python -m tests.contract.revision "What it does" 0003

It leads from the newest revision to the tables of the code; look it over, and move HEAD.
"""

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from gateway.core.store import migrations
from gateway.core.store.open import alembic_config

VERSIONS = Path(migrations.__path__[0]) / "versions"


def main(message: str, revision: str) -> None:
    made = VERSIONS / f"{message.lower().replace(' ', '_')}.py"
    with sa.create_engine("sqlite://").connect() as connection:
        config = alembic_config(connection)
        config.set_main_option("file_template", "%%(slug)s")
        command.upgrade(config, "head")
        command.revision(config, message=message, autogenerate=True, rev_id=revision)
    lines = made.read_text("utf-8").splitlines(keepends=True)
    made.write_text("".join(line for line in lines if "# ###" not in line), "utf-8")
    for tool in (("check", "--fix-only", "--quiet"), ("format", "--quiet")):
        subprocess.run([sys.executable, "-m", "ruff", *tool, made], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
