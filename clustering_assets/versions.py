"""Fingerprints: what a table was made of, so that the same is not computed twice."""

from __future__ import annotations

import hashlib
import json

FEATURES_VERSION = "1"
"""Raise it when the same order lines would give other features than before."""

SEGMENTATION_VERSION = "3"
"""Raise it when the same features and parameters would give other segments than before."""

VALIDATION_VERSION = "1"
"""Raise it when the same order lines and segments would be judged otherwise than before."""

PUBLISHING_VERSION = "1"
"""Raise it when the same tables would be published otherwise than before."""

REPORT_VERSION = "1"
"""Raise it when the same tables would be told of otherwise than before."""


def fingerprint(*parts: object) -> str:
    """Return 16 hexadecimal digits that stand for the parts, which JSON must be able to hold."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]
