"""Adapters for MNS and MPS: the only code that uses the SDKs of Alibaba Cloud."""
