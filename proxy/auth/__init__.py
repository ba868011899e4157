"""Authentication and authorization: identities, tokens, access lists. Knows neither the core nor an API."""
