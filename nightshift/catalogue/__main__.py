"""Print the JSON schema of the catalogue: ``python -m nightshift.catalogue > runbooks/schema.json``."""

from __future__ import annotations

import sys

from nightshift.catalogue.schema import schema_text

sys.stdout.write(schema_text())
