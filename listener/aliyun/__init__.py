"""The only code that knows the services of Alibaba Cloud and their SDKs."""
