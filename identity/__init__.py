"""The identity service: who somebody is, and what they may do, by version 3 of OpenStack's identity API."""
