"""The text of ``listener.toml`` for a new installation. It holds no secret."""

from __future__ import annotations

import json
from typing import Final

from listener.core.account import Pipeline
from listener.settings.sections import CredentialsSettings
from listener.setup.location import Location

_TEXT: Final = """\
# Settings of mns-listener, written by `mns-listener setup`. docs/settings.md describes all of them.
# Verify them with `mns-listener check -c FILE`, then start the daemon with `mns-listener run -c FILE`.

# The API of MPS, for submitting jobs and for querying those whose callback is overdue.
[{mps_table}]
region = {region}
{mps_endpoint}# Smart-production jobs send their callbacks here, unless they are submitted with another --notify-url.
notify_url = {notify_url}
# The pipeline of jobs that are submitted without one. Smart-production jobs do not need one.
# pipeline = {pipeline}

{credentials}
# The queue that the daemon consumes.
[[queues]]
url = {notify_url}
{mns_endpoint}{queue_tenant}
# Routes are tried in order; the first one that matches gets the result. This one matches every outcome and writes it
# to the log of the daemon. docs/handlers.md shows webhooks, programs, files and Python functions.
[[routes]]
name = "all"
handlers = [{{ use = "log" }}]
"""
_DEFAULT_CHAIN: Final = """\
# The access key: from ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, a profile, a RAM role or OIDC;
# or from files that hold nothing but the value:
# [{table}]
# access_key_id_file = "/etc/mns-listener/access-key-id"
# access_key_secret_file = "/etc/mns-listener/access-key-secret"
"""


def settings_text(
    location: Location,
    *,
    tenant: str = "",
    pipeline: Pipeline | None = None,
    keys: CredentialsSettings | None = None,
) -> str:
    """``keys``: the files that hold the access key; without them the default chain is used."""
    prefix = f"tenants.{json.dumps(tenant)}." if tenant else ""
    return _TEXT.format(
        mps_table=f"{prefix}mps",
        region=_toml(location.region),
        mps_endpoint=f"endpoint = {_toml(location.mps_endpoint)}\n" if location.mps_endpoint else "",
        notify_url=_toml(location.notify_url),
        pipeline=_toml(pipeline.id if pipeline else ""),
        credentials=_credentials(f"{prefix}credentials", keys),
        mns_endpoint="" if location.has_public_endpoint else f"endpoint = {_toml(location.mns_endpoint)}\n",
        queue_tenant=f"tenant = {_toml(tenant)}\n" if tenant else "",
    )


def _credentials(table: str, keys: CredentialsSettings | None) -> str:
    files = keys.model_dump(exclude_none=True) if keys else {}
    if not files:
        return _DEFAULT_CHAIN.format(table=table)
    lines = [f"{name} = {_toml(str(path))}\n" for name, path in files.items()]
    return f"[{table}]\n{''.join(lines)}"


def _toml(text: str) -> str:
    """A string of JSON is one of TOML."""
    return json.dumps(text, ensure_ascii=False)
