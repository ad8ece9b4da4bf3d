"""Print the JSON schemas of the catalogue.

``python -m nightshift.catalogue > runbooks/schema.json``, and with the argument ``correlation`` that of
``correlation.yaml``.
"""

from __future__ import annotations

import sys

from nightshift.catalogue.schema import schema_text

sys.stdout.write(schema_text(correlation=sys.argv[1:] == ["correlation"]))
