"""The RPC protocol of Alibaba Cloud's APIs, which MPS and the OpenAPI of MNS share: calls, signatures, replies."""
