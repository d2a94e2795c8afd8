"""The OpenAPI of MNS, 2022-01-19: RPC calls that manage what the protocol of ``mns`` works with."""
