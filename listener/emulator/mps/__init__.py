"""MPS: jobs, their results and their callbacks over its RPC protocol."""
