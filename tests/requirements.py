"""What the seven tools promise a caller: id -> sentence. Tests name the id they prove.

Knows no code of the product. `@pytest.mark.promise("run.terminal")` on a test refers to an id here;
`tests/docs/test_requirements.py` compares both ways.
"""

from collections.abc import Mapping
from typing import Final

PROMISES: Final[Mapping[str, str]] = {}
