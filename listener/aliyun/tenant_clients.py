"""Access keys and MPS clients of the tenants."""

from __future__ import annotations

import threading

from listener.aliyun.credentials import Credentials, credentials
from listener.aliyun.mps_client import MpsClient
from listener.aliyun.request_count import OnRequest, not_counted
from listener.settings.sections import Settings


class TenantClients:
    """Access keys and MPS clients by tenant, created on first use. May be used from several threads."""

    def __init__(self, settings: Settings, *, on_mps_request: OnRequest = not_counted) -> None:
        self._settings = settings
        self._on_mps_request = on_mps_request
        self._lock = threading.RLock()
        self._keys: dict[str, Credentials] = {}
        self._clients: dict[str, MpsClient | None] = {}

    def keys(self, tenant: str) -> Credentials:
        """Raises SettingsError for a tenant that is not in the settings."""
        with self._lock:
            if tenant not in self._keys:
                self._keys[tenant] = credentials(self._settings.tenant(tenant).credentials)
            return self._keys[tenant]

    def mps(self, tenant: str) -> MpsClient | None:
        """None if MPS is not configured, or the tenant is not in the settings any more."""
        with self._lock:
            if tenant not in self._clients:
                self._clients[tenant] = self._new_client(tenant)
            return self._clients[tenant]

    def _new_client(self, tenant: str) -> MpsClient | None:
        known = not tenant or tenant in self._settings.tenants
        settings = self._settings.tenant(tenant).mps if known else None
        if not settings or not settings.configured:
            return None
        return MpsClient(settings, self.keys(tenant), on_request=self._on_mps_request)
