"""What holds for the whole run: property tests that forgive a busy machine, and keys that are nobody's."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("steady", deadline=None, database=None, max_examples=60)
settings.load_profile("steady")

# Set before anything of the credentials package is imported, so that no test ever asks a metadata service.
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] = "testKeyId"
os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "testKeySecret"
os.environ.pop("ALIBABA_CLOUD_SECURITY_TOKEN", None)
