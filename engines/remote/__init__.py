"""Models behind servers with the OpenAI protocol."""
